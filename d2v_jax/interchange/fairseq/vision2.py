"""data2vec 2.0 of images, pretrained, and fine-tuned on classes."""

import dataclasses
from typing import Any

import numpy as np

from d2v_jax.interchange.fairseq import data2vec2, names
from d2v_jax.interchange.fairseq.checkpoint import LICENCE, Checkpoint
from d2v_jax.interchange.fairseq.vision import (
  LARGEST_GRID,
  channels,
  classification,
)
from d2v_jax.interchange.model import Foreign
from d2v_jax.interchange.options import Options
from d2v_jax.models.positions import sincos_positions

_AROUND = ("model.", "mae_image_classification", "pretrained_model_args")
_HEAD = ("fc_norm.", "head.")
# Those that act in training, which no model of images has.
_BRANCH_RATES = ("encoder_dropout", "post_mlp_drop")
_RATES = ("activation_dropout", "dropout_input", "layerdrop")
_PRENET_RATES = ("prenet_dropout", "prenet_layerdrop")
# As exact as half precision is.
_TOLERANCE = 1e-3


def read(checkpoint: Checkpoint) -> Foreign:
  """Reads a pretrained or fine-tuned model of images."""
  model = data2vec2.find(checkpoint, "IMAGE", _AROUND)
  encoder, notes = _encoder(model)
  _check_positions(model, encoder)
  averaged: tuple[str, ...] = ("cls_token",) if encoder["cls_token"] else ()
  if model.m.flag("ema_local_encoder", False):
    averaged = ("feature_encoder", *averaged)
  network = data2vec2.network(model, "vision", encoder, averaged)
  head, objective, data = {}, {}, {}
  if model.pretrained:
    model.m.require("transformer_decoder", False)
    cls_loss, more = _cls_loss(model, encoder)
    notes += more
    objective = data2vec2.objective(model, network.tracked, cls_loss)
    data["mask"] = _mask(model, encoder)
  elif model.outer is not None:
    whole = model.whole
    whole.require_known(_AROUND[0], *_HEAD)
    if not checkpoint.encoder_only:
      head = {k: v for k, v in whole.arrays.items() if k.startswith(_HEAD)}
      objective = _fine_tuning(whole, model.outer)
  positions = r"modality_encoders\.IMAGE\.fixed_positional_encoder\.positions"
  return dataclasses.replace(
    network,
    objective=objective,
    channels=channels(model.checkpoint, encoder, _patches(model)),
    arrays=network.arrays | head,
    rules=(*network.rules, *names.IMAGE_HEAD),
    unused=(*network.unused, positions),
    data=data,
    notes=(*notes, LICENCE),
  )


def _patches(model: data2vec2.Multi) -> str:
  return f"{model.prefix}local_encoder.proj.weight"


def _encoder(model: data2vec2.Multi) -> tuple[dict[str, Any], list[str]]:
  """config.encoder, and what to say about it."""
  c, m = model.c, model.m
  common = data2vec2.encoder(model)
  if m.integer("embed_dim", 768, least=1) != common["width"]:
    raise m.error(
      "embed_dim",
      f"this library has no map from patches of it to the width "
      f"{common['width']}",
    )
  m.require("fixed_positions", True)
  m.require("local_grad_mult", 1)
  if common["alibi"]:
    m.require("alibi_dims", 2)
    m.require("alibi_distance", "manhattan")
  tokens = m.integer("num_extra_tokens", 0)
  if tokens > 1:
    raise m.error("num_extra_tokens", "this library has 0 or 1 for images")
  patch = model.checkpoint.size(_patches(model), 2)
  if m.integer("patch_size", 16, least=1) != patch:
    raise m.error("patch_size", f"its weights have patches of {patch} pixels")
  # In fine-tuning the outer options hold, which have other defaults.
  if model.outer is None:
    rates, prenet_rates, usual = c, m, 0.1
    drop_path, left_out = 0.0, [*_RATES, "end_drop_path_rate"]
  else:
    rates, prenet_rates, usual = model.outer, model.outer, 0.0
    drop_path, left_out = rates.number("drop_path_rate", 0.1), [*_RATES]
  branches = dict.fromkeys(_BRANCH_RATES, (usual, 0.0))
  others, prenet = (
    dict.fromkeys(x, (0.0, 0.0)) for x in (left_out, _PRENET_RATES)
  )
  notes = [
    *data2vec2.other_rates(rates, branches | others),
    *data2vec2.other_rates(prenet_rates, prenet),
  ]
  return common | {
    "name": "visible_vit",
    "image_size": m.integer(
      "input_size", 224, least=1, most=LARGEST_GRID * patch
    ),
    "patch_size": patch,
    "cls_token": tokens > 0,
    "norm_eps": c.number("norm_eps", 1e-6),
    "drop_path": drop_path,
    "attention_dropout": rates.number("attention_dropout", usual),
  }, notes


def _check_positions(model: data2vec2.Multi, encoder: dict[str, Any]) -> None:
  """Raises unless fixed positions, which are no parameters here, are ours."""
  name = f"{model.prefix}fixed_positional_encoder.positions"
  if encoder["image_size"] % encoder["patch_size"] or encoder["width"] % 4:
    return  # the encoder's own error says more
  grid = (encoder["image_size"] // encoder["patch_size"],) * 2
  ours = sincos_positions(grid, encoder["width"])
  for arrays in (
    model.checkpoint.arrays,
    model.checkpoint.averages.get("_ema", {}),
  ):
    theirs = arrays.get(name)
    if theirs is None:
      continue
    if theirs.shape != (1, *ours.shape):
      raise model.checkpoint.error(
        f"{name} is {list(theirs.shape)}; {grid[0]} x {grid[1]} patches of "
        f"input_size={encoder['image_size']} have {[1, *ours.shape]}"
      )
    if not np.allclose(theirs[0], ours, rtol=0, atol=_TOLERANCE):
      raise model.checkpoint.error(
        f"{name} has not the sines and cosines of {grid[0]} x {grid[1]} "
        "patches, and this library has no other fixed positions"
      )


def _cls_loss(
  model: data2vec2.Multi, encoder: dict[str, Any]
) -> tuple[float, list[str]]:
  """Weight of the mean over rows; theirs is of the sum over a device's."""
  weight = model.c.number("cls_loss", 0.0)
  if not weight:
    return 0.0, []
  if not encoder["cls_token"]:
    raise model.c.error("cls_loss", "it has no extra token (num_extra_tokens)")
  section = model.checkpoint.cfg.inner("dataset")
  if "batch_size" not in section:
    raise section.error(
      "batch_size",
      f"cls_loss={weight} is the weight of a sum over the images of a device, "
      "of which nothing says how many they were; the encoder alone can be "
      "imported (encoder_only)",
    )
  images = section.integer("batch_size", 1, least=1)
  masks = model.c.integer("clone_batch", 1, least=1)
  ours = round(weight * images * masks, 12)
  note = (
    f"cls_loss={weight} of a sum over {images} x {masks} rows is {ours} of "
    "their mean here"
  )
  return ours, [note]


def _mask(model: data2vec2.Multi, encoder: dict[str, Any]) -> dict[str, Any]:
  """config.data.mask."""
  spec, m = data2vec2.mask(model), model.m
  length = m.integer("mask_length", 5, least=1)
  if length == 1:
    patches = (encoder["image_size"] // encoder["patch_size"]) ** 2
    hidden = patches - int(patches * (1 - spec.pop("ratio")))
    return {"name": "random_patches", "num_masked": hidden, **spec}
  if not m.flag("inverse_mask", False):
    raise m.error("inverse_mask", "blocks of images can only be left visible")
  adjust = m.number("mask_prob_adjust", 0.0)
  return {"name": "inverse_blocks", **spec, "adjust": adjust, "length": length}


def _fine_tuning(checkpoint: Checkpoint, c: Options) -> dict[str, Any]:
  c.require("prediction_mode", "MEAN_POOLING")
  objective = classification(checkpoint, c.number("label_smoothing", 0.1))
  norm = c.flag("use_fc_norm", True)
  objective["head"] |= {"norm": norm, "initial": "normal"}
  return objective
