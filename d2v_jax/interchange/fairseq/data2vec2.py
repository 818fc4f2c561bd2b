"""fairseq's data2vec_multi, data2vec 2.0: what its modalities share.

Options that change what a network computes, or what it is trained for, are
refused if we have no like. Rates that act in training only, of which fairseq
has more than we do, are named in notes where they differ.
"""

import dataclasses
import re
from collections.abc import Iterator
from typing import Any

from d2v_jax.interchange.fairseq import names
from d2v_jax.interchange.fairseq.checkpoint import (
  Checkpoint,
  data2vec_objective,
  without,
)
from d2v_jax.interchange.model import Foreign
from d2v_jax.interchange.options import Options
from d2v_jax.interchange.weights import Arrays

ENCODERS = "modality_encoders."


@dataclasses.dataclass(frozen=True)
class Multi:
  """A model of data2vec 2.0 in a file.

  Attributes:
    checkpoint: the file, its arrays those of the network.
    prefix: how names in the modality's own part begin.
    c: options of the network.
    m: options of its modality.
    outer: options of a fine-tuned model around it, or None.
    whole: the file with all its arrays.
  """

  checkpoint: Checkpoint
  prefix: str
  c: Options
  m: Options
  outer: Options | None
  whole: Checkpoint

  @property
  def pretrained(self) -> bool:
    """Whether decoder and objective are wanted."""
    return self.outer is None and not self.checkpoint.encoder_only


def find(
  checkpoint: Checkpoint, name: str, around: tuple[str, str, str]
) -> Multi:
  """Finds the network in a file.

  Args:
    checkpoint: the file.
    name: of the modality, 'AUDIO', 'IMAGE' or 'TEXT'.
    around: of a fine-tuned model around it: how the names of the network's
      weights begin, its registered name, and its option that has the network's
      whole configuration.

  Raises:
    InterchangeError: it is another model, or has several modalities.
  """
  inside, registered, config = around
  pattern = re.compile(rf"(.*?){re.escape(ENCODERS)}(\w+)\.")
  matches = [pattern.match(weight) for weight in checkpoint.arrays]
  begins = {match.groups() for match in matches if match}
  modalities = sorted({modality for _, modality in begins})
  if modalities != [name]:
    there = " and ".join(modalities) or "no modality"
    raise checkpoint.error(
      f"it has {ENCODERS}* for {there}; only models of one modality, AUDIO, "
      "IMAGE or TEXT, can be imported"
    )
  starts = sorted({start for start, _ in begins})
  if starts not in ([""], [inside]):
    raise checkpoint.error(
      f"names of its network begin with {', '.join(map(repr, starts))}; there "
      f"can be nothing, or {inside!r} of a fine-tuned {registered}"
    )
  outer, c, arrays = None, checkpoint.model, checkpoint.arrays
  if starts == [inside]:
    outer = checkpoint.model
    checkpoint.require_name(outer, registered)
    c = outer.section(config).inner("model")
    arrays = without(inside, arrays)
  checkpoint.require_name(c, "data2vec_multi")
  m = c.section("modalities").section(name.lower())
  if not m.values:
    raise checkpoint.error(
      f"{m.where} does not describe the modality; its configuration lacks what "
      "the weights do not tell"
    )
  inner = dataclasses.replace(checkpoint, arrays=arrays)
  return Multi(inner, f"{ENCODERS}{name}.", c, m, outer, checkpoint)


def encoder(model: Multi) -> dict[str, Any]:
  """Arguments that the encoders of all modalities have.

  Raises:
    InterchangeError: the options describe another network.
  """
  c, m, checkpoint = model.c, model.m, model.checkpoint
  c.require("layer_norm_first", False)
  c.require("norm_affine", True)
  width = checkpoint.size("blocks.0.norm1.weight", 0)
  if c.integer("embed_dim", 768, least=1) != width:
    raise c.error("embed_dim", f"its weights have a width of {width}")
  num_heads = c.integer("num_heads", 12, least=1)
  return {
    "width": width,
    "depth": c.integer("depth", 8, least=1, most=1000),
    "prenet_depth": m.integer("prenet_depth", 4, most=1000),
    "num_heads": num_heads,
    "mlp_ratio": checkpoint.mlp_ratio("blocks.0.mlp.fc1.weight", width),
    "alibi": _alibi(model, num_heads),
  }


def _alibi(model: Multi, num_heads: int) -> bool:
  m = model.m
  if not m.flag("use_alibi_encoder", False):
    return False
  m.require("learned_alibi", False)
  m.require("learned_alibi_scale_per_head", True)
  m.require("learned_alibi_scale_per_layer", False)
  m.require("num_alibi_heads", num_heads)
  if model.outer is None:
    m.require("learned_alibi_scale", True)
  return True


def check_norm_eps(model: Multi) -> None:
  """Raises unless all norms have the one epsilon of speech and text."""
  if model.c.number("norm_eps", 1e-6) != 1e-5:
    raise model.c.error(
      "norm_eps", "this library has 1e-05 in all norms of speech and text"
    )


def other_rates(
  section: Options, used: dict[str, tuple[float, float]]
) -> Iterator[str]:
  """Says which rates are others here.

  Args:
    section: the options.
    used: name -> (fairseq's default, the rate that is used here).
  """
  for name, (default, rate) in used.items():
    value = section.number(name, default)
    if value != rate:
      yield f"{name}={value} is {rate} here; it acts in training only"


def network(
  model: Multi,
  modality: str,
  encoder: dict[str, Any],
  averaged: tuple[str, ...],
) -> Foreign:
  """The network with its teacher, to which head and objective are added.

  Args:
    model: the model.
    modality: ours.
    encoder: its arguments.
    averaged: sub-trees of the modality that are averaged with the whole
      encoder.
  """
  rules = names.multi(model.prefix, encoder.get("position_depth", 0))
  unused: tuple[str, ...] = ()
  if model.pretrained:
    decoder = f"{model.prefix}decoder."
    rules = (*rules, *names.decoder(decoder, _projection_layers(model)))
    if model.c.number("recon_loss", 0.0):
      rules = (*rules, *names.RECON_HEAD)
  elif model.outer is None:
    decoder = re.escape(f"{model.prefix}decoder.")
    unused = (rf"{decoder}.*", r"(shared_decoder|recon_proj)\..*")
  teacher: Arrays = {}
  tracked: tuple[str, ...] = ()
  if model.outer is None:
    teacher, tracked = _teacher(model, encoder, averaged)
  what = "pretrained" if model.outer is None else "fine-tuned"
  return Foreign(
    modality=modality,
    encoder=encoder,
    arrays=model.checkpoint.arrays,
    rules=rules,
    teacher=teacher,
    tracked=tracked,
    unused=unused,
    description=f"data2vec_multi (data2vec 2.0) of fairseq, {what}",
  )


def _teacher(
  model: Multi, encoder: dict[str, Any], averaged: tuple[str, ...]
) -> tuple[Arrays, tuple[str, ...]]:
  """The file's average, by the student's names, and its sub-trees."""
  average = model.checkpoint.averages.get("_ema", {})
  if model.c.flag("ema_encoder_only", True):
    average = {f"blocks.{name}": value for name, value in average.items()}
    return average, ("blocks",)
  has_prenet = encoder["prenet_depth"] > 0
  parts = {
    "alibi_scale": encoder["alibi"],
    # A norm comes first: always but in text without a prenet.
    "prenet_norm": has_prenet or not model.prefix.endswith("TEXT."),
    "prenet": has_prenet,
    "blocks": True,
  }
  there = (name for name, is_there in parts.items() if is_there)
  return average, (*averaged, *there)


def objective(
  model: Multi, tracked: tuple[str, ...], cls_loss: float = 0.0
) -> dict[str, Any]:
  """config.objective of a pretrained model.

  Args:
    model: the model.
    tracked: sub-trees that are averaged.
    cls_loss: weight of the CLS token's loss, ours.

  Raises:
    InterchangeError: its loss or its decoder is another one.
  """
  c = model.c
  if not model.prefix.endswith("IMAGE."):
    c.require("recon_loss", 0)
  recon: dict[str, Any] = {}
  if weight := c.number("recon_loss", 0.0, least=0):
    # Of as many pixels as the encoder is wide.
    width = c.integer("embed_dim", 768)
    head = {"num_outputs": width, "initial": "normal"}
    recon = {"recon_loss": weight, "head": head}
  c.require("d2v_loss", 1)
  if "shared_decoder" in c:
    raise c.error("shared_decoder", "this library has the modality's own only")
  return data2vec_objective(
    c,
    name="data2vec2",
    output="block" if c.flag("end_of_block_targets", False) else "ffn",
    tracked=tracked,
    cls_loss=cls_loss,
    decoder=_decoder(model, model.m.section("decoder")),
    **recon,
  )


def _decoder(model: Multi, d: Options) -> dict[str, Any]:
  start = f"{model.prefix}decoder."
  if not any(name.startswith(start) for name in model.checkpoint.arrays):
    raise model.checkpoint.error(
      "it has no decoder, without which it cannot be trained on; the encoder "
      "alone can be imported (encoder_only)"
    )
  d.require("final_layer_norm", False)
  layers = _projection_layers(model)
  if layers > 1:
    d.require("projection_ratio", 2)
  arguments = {
    "width": d.integer("decoder_dim", 384, least=1),
    "layers": d.integer("decoder_layers", 5, least=1, most=100),
    "kernel": d.integer("decoder_kernel", 5, least=1, most=1000),
    "groups": d.integer("decoder_groups", 16, least=1),
    "residual": d.flag("decoder_residual", True),
    "projection_layers": layers,
    "input_dropout": d.number("input_dropout", 0.1),
    "noise_std": model.m.number("mask_noise_std", 0.01),
    "initial": "normal" if model.prefix.endswith("TEXT.") else "torch",
  }
  if model.prefix.endswith("IMAGE."):
    arguments["positions"] = _decoder_positions(d)
  else:
    for name in ("add_positions_masked", "add_positions_all"):
      d.require(name, False)
    # As the reference computes: padding leaks into its neighbours.
    arguments["isolate_padding"] = False
  return arguments


def _decoder_positions(d: Options) -> str:
  """To which tokens positions are added; those of hidden ones once alone."""
  if not d.flag("add_positions_all", False):
    return "hidden" if d.flag("add_positions_masked", False) else "none"
  d.require("add_positions_masked", False)
  return "all"


def _projection_layers(model: Multi) -> int:
  """Linear maps at the decoder's end; that of images has one, always."""
  if model.prefix.endswith("IMAGE."):
    return 1
  decoder = model.m.section("decoder")
  return decoder.integer("projection_layers", 1, least=1, most=100)


def mask(model: Multi) -> dict[str, Any]:
  """What is common to the masks of all modalities: how many, and the share.

  Raises:
    InterchangeError: they are drawn in another way.
  """
  m = model.m
  for name, value in (
    ("add_masks", False),
    ("mask_dropout", 0),
    ("keep_masked_pct", 0),
    ("mask_channel_prob", 0),
  ):
    m.require(name, value)
  ratio = m.number("mask_prob", 0.7)
  if 0 <= m.number("mask_prob_min", ratio) < ratio:
    raise m.error("mask_prob_min", "this library hides the same share always")
  num_masks = model.c.integer("clone_batch", 1, least=1, most=10_000)
  return {"num_masks": num_masks, "ratio": ratio}
