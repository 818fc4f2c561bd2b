"""data2vec's vision models: the release in BEiT's code, and fairseq's own."""

import math
import re
from collections.abc import Mapping
from typing import Any

from d2v_jax.interchange.fairseq import literals, names
from d2v_jax.interchange.fairseq.checkpoint import (
  LICENCE,
  Checkpoint,
  data2vec_objective,
  unwrapped,
)
from d2v_jax.interchange.model import Foreign
from d2v_jax.interchange.options import Options

# Buffers that follow from the size.
UNUSED = (r"(.*\.)?relative_position_index",)

# Patches along a side: tables in memory grow with its fourth power.
LARGEST_GRID = 96
_LARGEST_IMAGE = 2**16
_MOST_CHANNELS = 64

_BEIT_LICENCE = (
  "licence: its README puts the released data2vec vision models under "
  "CC-BY-NC, for non-commercial use; whether this file is one of them is for "
  "you to know"
)
_HALF = (0.5, 0.5, 0.5)
_PATCHES = "patch_embed.proj.weight"
_LAYER_TABLE = re.compile(r"blocks\.\d+\.attn\.relative_position_bias_table")
# By width, in the models that the release registers.
_HEADS = {768: 12, 1024: 16, 1280: 16}
_SHARED_TABLE = "rel_pos_bias.relative_position_bias_table"
_PORT_TABLE = f"encoder.{_SHARED_TABLE}"
_PORT_PATCHES = "patch_embed.conv.weight"


def read(checkpoint: Checkpoint) -> Foreign:
  """Reads a file of the vision release; sizes come from its weights."""
  args, arrays = checkpoint.cfg, checkpoint.arrays
  if "layer_log_weights" in arrays:
    raise checkpoint.error("learn_layer_weights=True: no such pool here")
  encoder, notes = _encoder(checkpoint, args)
  objective, unused = {}, [*UNUSED]
  pretrained = "lm_head.weight" in arrays
  if checkpoint.encoder_only:
    unused += [r"(lm_head|head|fc_norm)\..*"]
  elif pretrained:
    objective = _pretraining(args, encoder)
  elif "head.weight" in arrays:
    if "fc_norm.weight" not in arrays:
      raise checkpoint.error(
        "use_mean_pooling=False or linear_classifier=True: its head has no "
        "norm of the mean; the encoder alone can be imported (encoder_only)"
      )
    objective = classification(checkpoint, args.number("smoothing", 0.0))
    objective["head"] |= {"norm": True, "initial": "small"}
  average, teacher = checkpoint.other.get("model_ema"), {}
  if isinstance(average, Mapping):
    named = unwrapped(average)
    teacher = {k: v for k, v in named.items() if hasattr(v, "shape")}
  if teacher and not pretrained:
    teacher = {}
    notes.append("its model_ema is left out: fine-tuning has no teacher here")
  masked = "mask_token" in arrays
  if not masked:
    notes.append("it has no mask token: ours is zero until it is trained")
  return Foreign(
    modality="vision",
    encoder=encoder,
    objective=objective,
    arrays=arrays,
    rules=names.VISION,
    channels=channels(checkpoint, encoder, _PATCHES),
    teacher=teacher,
    unused=tuple(unused),
    absent=() if masked else ("mask_token",),
    description="the data2vec vision release, "
    + ("pretrained" if pretrained else "fine-tuned"),
    notes=(*notes, _BEIT_LICENCE),
  )


def read_port(checkpoint: Checkpoint) -> Foreign:
  """Reads a file of fairseq's own data2vec_vision, which is another model.

  It is a pretrained one; its head, which no loss uses, is left out.
  """
  c = checkpoint.model
  checkpoint.require_name(c, "data2vec_vision")
  c.require("shared_rel_pos_bias", True)
  patch = checkpoint.size(_PORT_PATCHES, 2)
  encoder = sizes(checkpoint, "encoder.blocks.", "mlp.0") | {
    "image_size": grid_of(checkpoint, _PORT_TABLE) * patch,
    "patch_size": patch,
    "num_heads": checkpoint.size(_PORT_TABLE, 1),
    "positions": "relative",
    "norm_eps": 1e-5,
    "drop_path": c.number("drop_path", 0.0),
    "attention_dropout": c.number("attention_dropout", 0.0),
  }
  blocks_only = c.flag("ema_transformer_only", True)
  tracked = ("blocks", "norm", "relative_position_bias") if blocks_only else ()
  prefix = "encoder." if blocks_only else ""
  average = checkpoint.averages.get("_ema", {})
  objective = {}
  if not checkpoint.encoder_only:
    objective = data2vec_objective(
      c,
      output="block" if c.flag("end_of_block_targets", True) else "ffn",
      head={"layers": 0},
      tracked=tracked,
    )
    if c.number("loss_scale", 1.0) <= 0:
      objective["loss_scale"] = 1.0
  return Foreign(
    modality="vision",
    encoder=encoder,
    objective=objective,
    arrays=checkpoint.arrays,
    rules=names.VISION_PORT,
    channels=channels(checkpoint, encoder, _PORT_PATCHES),
    teacher={prefix + name: value for name, value in average.items()},
    tracked=tracked,
    unused=(*UNUSED, r"final_proj\..*"),
    description="data2vec_vision of fairseq, pretrained",
    notes=(LICENCE,),
  )


def classification(checkpoint: Checkpoint, smoothing: float) -> dict[str, Any]:
  """config.objective of a classifier of the mean over patches."""
  outputs = checkpoint.size("head.weight", 0)
  return {
    "name": "classification",
    "head": {"num_outputs": outputs, "pool": "mean"},
    **({"label_smoothing": smoothing} if smoothing else {}),
  }


def channels(
  checkpoint: Checkpoint, encoder: dict[str, Any], patches: str
) -> int:
  """Channels of images, by the name of the patches' weight [D, C, P, P].

  Raises:
    InterchangeError: images of the encoder would be too large.
  """
  count = checkpoint.size(patches, 1)
  if encoder["image_size"] > _LARGEST_IMAGE or count > _MOST_CHANNELS:
    raise checkpoint.error(
      f"images of {encoder['image_size']} pixels and {count} channels are too "
      "large"
    )
  return count


def sizes(checkpoint: Checkpoint, blocks: str, fc1: str) -> dict[str, Any]:
  """Width, depth, hidden width and whether layers are scaled.

  Args:
    checkpoint: the file.
    blocks: how the names of blocks begin.
    fc1: how the name of a block's first product of the MLP ends.
  """
  arrays = checkpoint.arrays
  width = checkpoint.size(f"{blocks}0.norm1.weight", 0)
  layers = {
    n.removeprefix(blocks).split(".")[0] for n in arrays if n.startswith(blocks)
  }
  return {
    "name": "vit",
    "width": width,
    "depth": len(layers),
    "mlp_ratio": checkpoint.mlp_ratio(f"{blocks}0.{fc1}.weight", width),
    "layer_scale": 1e-4 if f"{blocks}0.gamma_1" in arrays else 0.0,
  }


def grid_of(checkpoint: Checkpoint, table: str) -> int:
  """Patches along a side g, of a table with (2 g - 1)**2 + 3 entries."""
  entries = checkpoint.size(table, 0)
  grid = (math.isqrt(max(entries - 3, 0)) + 1) // 2
  if grid > LARGEST_GRID or (2 * grid - 1) ** 2 + 3 != entries:
    raise checkpoint.error(
      f"a table of relative positions with {entries} entries is not that of a "
      f"square of up to {LARGEST_GRID} patches"
    )
  return grid


def _pretraining(args: Options, encoder: dict[str, Any]) -> dict[str, Any]:
  if args.number("var_w0", 0.0) > 0:
    raise args.error("var_w0", "this library has no variance term of the loss")
  if args.flag("ema_annealing_till_end", False):
    raise args.error(
      "ema_annealing_till_end", "ema_start_at does not say over how many steps"
    )
  depth, where = encoder["depth"], f"{args.where}.target_layers"
  default = str(list(range(depth - min(6, depth), depth)))
  layers = literals.integers(args.text("target_layers", default), where)
  if sorted(layers) != list(range(depth - len(layers), depth)) or not layers:
    raise args.error(
      "target_layers", f"only the last ones of its {depth} can be averaged"
    )
  squared = args.flag("l2_loss", False)
  beta = 0.0 if squared else args.number("l1_beta", 0.12)
  if beta <= 0 and not squared:
    raise args.error("l1_beta", "this library has no L1 loss")
  scale = args.number("loss_scale", -1.0)
  flags = {
    "layer_norms": {
      "batch": args.flag("target_batch_norm", False),
      "instance": args.flag("target_instance_norm", False),
      "layer": not args.flag("no_target_layer_norm_last", False),
    },
    "average_norms": {
      "instance": args.flag("post_target_instance_norm", False),
      "layer": args.flag("post_target_layer_norm", False),
    },
  }
  # Their clock starts at 0 and ours at 1: the same line, one step longer.
  start = args.number("ema_decay_init", 0.999)
  end = args.number("ema_decay", 0.9998)
  steps = args.integer("ema_start_at", 25_000, most=10**9)
  if steps:
    start, steps = start - (end - start) / steps, steps + 1
  else:
    start = end
  return {
    "name": "data2vec",
    "targets": {
      "output": args.choice(
        "layer_results", "end", {"end": "block", "fc": "ffn"}
      ),
      "top_k": len(layers),
      **{k: tuple(n for n in v if v[n]) for k, v in flags.items()},
    },
    "loss_beta": beta,
    "loss_scale": "mean" if scale == -1 else scale / encoder["width"],
    "head": {"layers": 1},
    "ema": {"start": start, "end": end, "anneal_steps": steps, "tracked": ()},
  }


def _encoder(
  checkpoint: Checkpoint, args: Options
) -> tuple[dict[str, Any], list[str]]:
  """Arguments of `vit`, and what to say about them."""
  arrays = checkpoint.arrays
  tables = [n for n in arrays if _LAYER_TABLE.fullmatch(n)]
  kinds = {
    "absolute": "pos_embed" in arrays,
    "relative": _SHARED_TABLE in arrays,
    "relative_layers": bool(tables),
  }
  there = [kind for kind, is_there in kinds.items() if is_there]
  if len(there) != 1:
    raise checkpoint.error(
      f"it has {' and '.join(there) or 'no'} positions (abs_pos_emb, "
      "rel_pos_bias); this library has exactly one kind"
    )
  patch = checkpoint.size(_PATCHES, 2)
  encoder = sizes(checkpoint, "blocks.", "mlp.fc1")
  if there == ["absolute"]:
    grid = math.isqrt(checkpoint.size("pos_embed", 1))
    heads = _HEADS.get(encoder["width"])
    if heads is None:
      raise checkpoint.error("with abs_pos_emb nothing tells its heads")
  else:
    table = tables[0] if tables else _SHARED_TABLE
    grid = grid_of(checkpoint, table)
    heads = checkpoint.size(table, 1)
  if encoder["layer_scale"] and "layer_scale_init_value" in args:
    # It matters for fresh parameters only.
    encoder["layer_scale"] = args.number("layer_scale_init_value")
  notes = []
  if not args.values:
    notes.append("it has no args: the images' mean and std are assumed")
  elif not args.flag("imagenet_default_mean_and_std", False):
    encoder |= {"mean": _HALF, "std": _HALF}
  return encoder | {
    "image_size": grid * patch,
    "patch_size": patch,
    "num_heads": heads,
    "positions": there[0],
    "final_norm": "norm.weight" in arrays,
    "drop_path": args.number("drop_path", 0.0),
    "attention_dropout": args.number("attn_drop_rate", 0.0),
  }, notes
