"""The separate release of data2vec's vision models, in BEiT's code."""

import math
import re
from collections.abc import Mapping
from typing import Any

from d2v_jax.interchange.fairseq import literals, names
from d2v_jax.interchange.fairseq.checkpoint import Checkpoint, size
from d2v_jax.interchange.fairseq.vit import UNUSED, grid_of, inputs, sizes
from d2v_jax.interchange.model import Foreign
from d2v_jax.interchange.options import Options

_BEIT_LICENCE = (
  "licence: its README puts the released data2vec vision models under "
  "CC-BY-NC, for non-commercial use; whether this file is one of them is for "
  "you to know"
)
_HALF = (0.5, 0.5, 0.5)
_LAYER_TABLE = re.compile(r"blocks\.\d+\.attn\.relative_position_bias_table")
# By width, in the models that the release registers.
_HEADS = {768: 12, 1024: 16, 1280: 16}
_SHARED_TABLE = "rel_pos_bias.relative_position_bias_table"


def read(checkpoint: Checkpoint) -> Foreign:
  """Reads a file of the vision release; sizes come from its weights."""
  args, arrays = checkpoint.cfg, checkpoint.arrays
  if "layer_log_weights" in arrays:
    raise checkpoint.error("learn_layer_weights=True: no such pool here")
  encoder, notes = _encoder(checkpoint, args)
  teacher = {}
  average = checkpoint.other.get("model_ema")
  if isinstance(average, Mapping):
    teacher = {k: v for k, v in average.items() if hasattr(v, "shape")}
  objective, unused, absent = {}, [*UNUSED], ()
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
    objective = {
      "name": "classification",
      "head": {
        "num_outputs": size(checkpoint, "head.weight", 0),
        "pool": "mean",
        "norm": True,
        "initial": "small",
      },
    }
    smoothing = args.number("smoothing", 0.0)
    if smoothing:
      objective["label_smoothing"] = smoothing
  if not pretrained:
    if teacher:
      notes.append("its model_ema is left out: fine-tuning has no teacher here")
    teacher = {}
  if "mask_token" not in arrays:
    absent = ("mask_token",)
    notes.append("it has no mask token: ours is zero until it is trained")
  return Foreign(
    modality="vision",
    encoder=encoder,
    objective=objective,
    inputs=inputs(checkpoint, encoder, "patch_embed.proj.weight"),
    arrays=arrays,
    rules=names.VISION,
    teacher=teacher,
    unused=tuple(unused),
    absent=absent,
    description="the data2vec vision release, "
    + ("pretrained" if pretrained else "fine-tuned"),
    notes=(*notes, _BEIT_LICENCE),
  )


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
  start, end = (
    args.number("ema_decay_init", 0.999),
    args.number("ema_decay", 0.9998),
  )
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


def _encoder(checkpoint, args):
  """Arguments of `vit`, and what to say about them."""
  arrays = checkpoint.arrays
  tables = [n for n in arrays if _LAYER_TABLE.fullmatch(n)]
  kinds = {
    "absolute": "pos_embed" in arrays,
    "relative": _SHARED_TABLE in arrays,
    "relative_layers": bool(tables),
  }
  found = [kind for kind, there in kinds.items() if there]
  if len(found) != 1:
    raise checkpoint.error(
      f"it has {' and '.join(found) or 'no'} positions (abs_pos_emb, "
      "rel_pos_bias); this library has exactly one kind"
    )
  patch = size(checkpoint, "patch_embed.proj.weight", 2)
  encoder = sizes(checkpoint, "blocks.", "mlp.fc1")
  if found == ["absolute"]:
    grid = math.isqrt(size(checkpoint, "pos_embed", 1))
    heads, notes = _HEADS.get(encoder["width"]), []
    if heads is None:
      raise checkpoint.error("with abs_pos_emb nothing tells its heads")
  else:
    table = tables[0] if tables else _SHARED_TABLE
    grid = grid_of(checkpoint, size(checkpoint, table, 0))
    heads, notes = size(checkpoint, table, 1), []
  if encoder["layer_scale"] and "layer_scale_init_value" in args:
    # It matters for fresh parameters only.
    encoder["layer_scale"] = args.number("layer_scale_init_value", 0.1)
  imagenet = args.flag("imagenet_default_mean_and_std", False)
  if not args.values:
    notes.append("it has no args: the images' mean and std are assumed")
  elif not imagenet:
    encoder |= {"mean": _HALF, "std": _HALF}
  return encoder | {
    "image_size": grid * patch,
    "patch_size": patch,
    "num_heads": heads,
    "positions": found[0],
    "final_norm": "norm.weight" in arrays,
    "drop_path": args.number("drop_path", 0.0),
    "attention_dropout": args.number("attn_drop_rate", 0.0),
  }, notes
