"""Data2VecVision of Hugging Face <-> our ViT.

Source: the behaviour of transformers' Data2VecVisionModel and
Data2VecVisionForImageClassification.
"""

import math
from typing import Any

import numpy as np

from d2v_jax.interchange.huggingface import (
  image_processor,
  names,
  preprocessor,
)
from d2v_jax.interchange.huggingface.parts import (
  PROBLEMS,
  Incoming,
  Outgoing,
  Written,
  class_fields,
  classifier,
  require_settings,
  size_fields,
  sizes,
)
from d2v_jax.interchange.model import Foreign, channels
from d2v_jax.interchange.options import Options
from d2v_jax.interchange.weights import to_torch
from d2v_jax.models.positions import sincos_positions

MODEL_TYPE = "data2vec-vision"
PREFIX = "data2vec_vision"
BASE = "Data2VecVisionModel"
_CLASSIFIER = "Data2VecVisionForImageClassification"
# Objective -> architecture.
WITH_HEAD = dict.fromkeys(PROBLEMS, _CLASSIFIER)
# Architecture -> names of its head, if that is left out.
ARCHITECTURES = {
  BASE: None,
  _CLASSIFIER: None,
  "Data2VecVisionForSemanticSegmentation": (
    r"(decode_head|auxiliary_head|fpn\d)\..*"
  ),
}
# Of the fields that may have other values, of any network of patches.
OF_PATCHES: dict[str, Any] = {
  "hidden_size": 768,
  "num_hidden_layers": 12,
  "num_attention_heads": 12,
  "intermediate_size": 3072,
  "hidden_dropout_prob": 0.0,
  "attention_probs_dropout_prob": 0.0,
  "layer_norm_eps": 1e-12,
  "image_size": 224,
  "patch_size": 16,
  "num_channels": 3,
}
DEFAULTS = OF_PATCHES | {
  "use_mask_token": False,
  "use_absolute_position_embeddings": False,
  "use_relative_position_bias": False,
  "use_shared_relative_position_bias": False,
  "layer_scale_init_value": 0.1,
  "drop_path_rate": 0.1,
  "use_mean_pooling": True,
}
# Patches along a side: tables in memory grow with its fourth power.
_LARGEST_GRID = 96
# Field of theirs -> argument `positions` of ours.
_POSITIONS = {
  "use_absolute_position_embeddings": "absolute",
  "use_shared_relative_position_bias": "relative",
  "use_relative_position_bias": "relative_layers",
}


def read(theirs: Incoming) -> Foreign:
  """Reads a vision model.

  Raises:
    InterchangeError: a field changes the numbers in a way that we have not.
  """
  config = theirs.config
  config.require("hidden_act", "gelu")
  pooled = config.flag("use_mean_pooling")
  fields = [name for name in _POSITIONS if config.flag(name)]
  for name in fields[1:]:  # ours are of one kind
    config.require(name, False)
  positions = _POSITIONS[fields[0]] if fields else "absolute"
  encoder = _encoder(config, positions)
  images = config.integer("num_channels", least=1, most=64)
  mean_std, data, notes = image_processor.read(
    theirs.folder, encoder["image_size"], images
  )
  objective, unused, absent = {}, [], []
  classifies = theirs.architecture.endswith("ForImageClassification")
  if classifies and pooled:
    name, outputs = classifier(config)
    eps = encoder["norm_eps"]
    head = dict(num_outputs=outputs, pool="mean", norm=True, norm_eps=eps)
    objective = dict(name=name, head=head)
    data |= class_fields(config)
  else:
    unused.append(r"pooler\..*")
  if classifies and not pooled:
    unused.append(r"classifier\..*")
    notes.append(
      "the classifier was left out: with use_mean_pooling=False it reads the "
      "CLS token, and ours the patches"
    )
  if config.rate("hidden_dropout_prob"):
    notes.append("hidden_dropout_prob acts in training only, and not here")
  if not fields:
    absent.append("position_embedding")
    notes.append("it has no positions: ours are zero until trained")
  if "embeddings.mask_token" not in theirs.arrays:
    absent.append("mask_token")
    notes.append("it has no mask token: ours is zero until it is trained")
  return Foreign(
    modality="vision",
    encoder={**encoder, **mean_std},
    objective=objective,
    arrays=theirs.arrays,
    rules=names.vision(encoder["patch_size"]),
    channels=images,
    unused=tuple(unused),
    absent=tuple(absent),
    data=data if images == 3 else {"channels": images, **data},
    notes=tuple(notes),
  )


def write(ours: Outgoing) -> Written:
  """Writes a vision model.

  Raises:
    InterchangeError: a setting cannot be expressed.
  """
  encoder, head, params = ours.encoder, ours.head, ours.params
  why = "models there have a CLS token and their norms before each branch"
  require_settings("encoder", encoder, why, cls_token=True, pre_norm=True)
  notes = () if head is None else _check_head(encoder, head)
  positions, patch = encoder["positions"], encoder["patch_size"]
  if positions == "sincos":
    grid = (encoder["image_size"] // patch,) * 2
    table = sincos_positions(grid, encoder["width"])
    table = np.concatenate([np.zeros_like(table[:1]), table])
    params = {**params, "position_embedding": table[None]}
  arrays = to_torch(params, names.vision(patch))
  images = channels(patch, params)
  config = dict(
    **size_fields(encoder, math.floor(encoder["width"] * encoder["mlp_ratio"])),
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=encoder["attention_dropout"],
    image_size=encoder["image_size"],
    patch_size=patch,
    num_channels=images,
    use_mask_token=True,
    use_absolute_position_embeddings=positions in ("absolute", "sincos"),
    use_relative_position_bias=positions == "relative_layers",
    use_shared_relative_position_bias=positions == "relative",
    layer_scale_init_value=encoder["layer_scale"],
    drop_path_rate=encoder["drop_path"],
    use_mean_pooling=not encoder["final_norm"],
  )
  prepared, more = image_processor.write(encoder, ours.model.data, images)
  files = {preprocessor.NAME: prepared}
  return Written(config, arrays, files, (*notes, *more))


def patches_and_image(config: Options) -> dict[str, int]:
  """Sides of a patch and of the image, pixels."""
  patch = _side(config, "patch_size", 1024)
  side = _side(config, "image_size", patch * _LARGEST_GRID)
  return {"image_size": side, "patch_size": patch}


def _encoder(config: Options, positions: str) -> dict[str, Any]:
  return (sizes(config) | patches_and_image(config)) | dict(
    name="vit",
    positions=positions,
    final_norm=not config.flag("use_mean_pooling"),
    layer_scale=config.number("layer_scale_init_value", least=0, most=1e6),
    drop_path=config.rate("drop_path_rate"),
    attention_dropout=config.rate("attention_probs_dropout_prob"),
  )


def _side(config: Options, name: str, most: int) -> int:
  """An integer, or two that are equal."""
  value = config[name]
  if isinstance(value, dict) and set(value) == {"height", "width"}:
    value = [value["height"], value["width"]]
  if isinstance(value, list | tuple) and len(value) == 2:
    if value[0] != value[1]:
      raise config.error(name, "it must be the same for height and width")
    value = value[0]
  if type(value) is not int or not 1 <= value <= most:
    raise config.error(
      name, f"it must be an integer of 1 to {most}, or two equal ones"
    )
  return value


def _check_head(encoder: dict[str, Any], head: Any) -> tuple[str, ...]:
  why = (
    "a classifier there is the mean of the patches without a norm before, a "
    "norm, and one linear map"
  )
  require_settings(
    "objective.head", vars(head), why, pool="mean", hidden=False, norm=True
  )
  require_settings("encoder", encoder, why, final_norm=False)
  eps = encoder["norm_eps"]
  if head.norm_eps == eps:
    return ()
  return (
    f"the head's norm has epsilon {eps} there; in training it was "
    f"{head.norm_eps}",
  )
