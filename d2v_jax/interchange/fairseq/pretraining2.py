"""What data2vec 2.0 is pretrained with: teacher, decoder, loss and masks."""

import re
from typing import Any

from d2v_jax.interchange.fairseq import names
from d2v_jax.interchange.fairseq.checkpoint import data2vec_objective
from d2v_jax.interchange.fairseq.data2vec2 import Multi, biases_apart
from d2v_jax.interchange.weights import Arrays, Rule


def teacher(
  model: Multi, arguments: dict[str, Any], own: tuple[str, ...]
) -> tuple[Arrays, tuple[str, ...]]:
  """The file's average, by the student's names, and its sub-trees.

  Args:
    model: the model.
    arguments: of the encoder.
    own: sub-trees of the modality that are averaged with the whole encoder.
  """
  if model.outer is not None:
    return {}, ()
  average = model.checkpoint.averages.get("_ema", {})
  if model.c.flag("ema_encoder_only", True):
    average = {f"blocks.{name}": value for name, value in average.items()}
    return biases_apart(average), ("blocks",)
  parts = {
    "alibi_scale": arguments["alibi"],
    "prenet_norm": _has_norm(model, arguments),
    "prenet": arguments["prenet_depth"] > 0,
    "blocks": True,
  }
  there = (name for name, is_there in parts.items() if is_there)
  return biases_apart(average), (*own, *there)


def _has_norm(model, arguments):
  """Whether a norm comes first: always but in text without a prenet."""
  return not model.prefix.endswith("TEXT.") or arguments["prenet_depth"] > 0


def objective(
  model: Multi,
  tracked: tuple[str, ...],
  *,
  initial: str,
  grid: bool,
  cls_loss: float = 0.0,
) -> dict[str, Any]:
  """config.objective of a pretrained model.

  Args:
    model: the model.
    tracked: sub-trees that are averaged.
    initial: initial values of the decoder's linear maps.
    grid: the decoder sees images.
    cls_loss: weight of the CLS token's loss, ours.

  Raises:
    InterchangeError: its loss or its decoder is another one.
  """
  c, m = model.c, model.m
  c.require("recon_loss", 0)
  c.require("d2v_loss", 1)
  if "shared_decoder" in c:
    raise c.error("shared_decoder", "this library has the modality's own only")
  scale = c.number("loss_scale", None)
  return data2vec_objective(
    c,
    name="data2vec2",
    output="block" if c.flag("end_of_block_targets", False) else "ffn",
    tracked=tracked,
    loss_scale="rsqrt" if scale is None else scale,
    cls_loss=cls_loss,
    decoder=_decoder(model, m.section("decoder"), initial, grid),
  )


def _decoder(model, d, initial, grid):
  start = f"{model.prefix}decoder."
  if not any(name.startswith(start) for name in model.checkpoint.arrays):
    raise model.checkpoint.error(
      "it has no decoder, without which it cannot be trained on; the encoder "
      "alone can be imported (encoder_only)"
    )
  for name in ("add_positions_masked", "add_positions_all", "final_layer_norm"):
    d.require(name, False)
  layers = projection_layers(model)
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
    "initial": initial,
  }
  # As the reference computes: padding leaks into its neighbours.
  return arguments if grid else arguments | {"isolate_padding": False}


def projection_layers(model: Multi) -> int:
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
  ratio, least = m.number("mask_prob", 0.7), m.number("mask_prob_min", None)
  if least is not None and 0 <= least < ratio:
    raise m.error("mask_prob_min", "this library hides the same share always")
  num_masks = model.c.integer("clone_batch", 1, least=1, most=10_000)
  return {"num_masks": num_masks, "ratio": ratio}


def rules(model: Multi, position_depth: int = 0) -> tuple[Rule, ...]:
  """Rules of the network and, of a pretrained one, its decoder."""
  network = names.multi(model.prefix, position_depth)
  if not model.pretrained:
    return network
  layers = projection_layers(model)
  return (*network, *names.decoder(f"{model.prefix}decoder.", layers))


def unused(model: Multi) -> tuple[str, ...]:
  """Names that are left out where nothing but the encoder is wanted."""
  if model.outer is not None or model.pretrained:
    return ()
  decoder = re.escape(f"{model.prefix}decoder.")
  return (rf"{decoder}.*", r"(shared_decoder|recon_proj)\..*")
