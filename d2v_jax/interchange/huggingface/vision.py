"""Data2VecVision of Hugging Face <-> our ViT.

Source: the behaviour of transformers' Data2VecVisionModel and
Data2VecVisionForImageClassification.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from d2v_jax.interchange.files import Folder
from d2v_jax.interchange.huggingface import names, preprocessor
from d2v_jax.interchange.huggingface.fields import Fields
from d2v_jax.interchange.huggingface.parts import (
  BUFFERS,
  Outgoing,
  prefixed,
  refuse,
)
from d2v_jax.interchange.model import Foreign, Imported
from d2v_jax.interchange.weights import Arrays, to_torch
from d2v_jax.models.positions import sincos_positions

MODEL_TYPE = "data2vec-vision"
PREFIX = "data2vec_vision"
BASE = "Data2VecVisionModel"
_CLASSIFIER = "Data2VecVisionForImageClassification"
# Architecture -> names of its head, which is left out.
_LEFT_OUT = {
  "Data2VecVisionForSemanticSegmentation": (
    r"(decode_head|auxiliary_head|fpn\d)\..*"
  ),
}
ARCHITECTURES = (BASE, _CLASSIFIER, *_LEFT_OUT)
DEFAULTS = {
  "hidden_size": 768,
  "num_hidden_layers": 12,
  "num_attention_heads": 12,
  "intermediate_size": 3072,
  "hidden_act": "gelu",
  "hidden_dropout_prob": 0.0,
  "attention_probs_dropout_prob": 0.0,
  "layer_norm_eps": 1e-12,
  "image_size": 224,
  "patch_size": 16,
  "num_channels": 3,
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


def read(
  fields: Fields, architecture: str, arrays: Arrays, folder: Folder
) -> Foreign:
  """Reads a vision model.

  Args:
    fields: config.json.
    architecture: one of ARCHITECTURES.
    arrays: weights without the model's prefix.
    folder: for preprocessor_config.json.

  Raises:
    InterchangeError: a field changes the numbers in a way that we have not.
  """
  fields.only("hidden_act", "gelu")
  positions, notes = _positions(fields)
  encoder = _encoder(fields, positions)
  side, channels = encoder["image_size"], fields.integer("num_channels", 1, 64)
  mean_std, more = preprocessor.read(folder, side, channels)
  notes += more
  if fields.rate("hidden_dropout_prob"):
    notes.append("hidden_dropout_prob acts in training only, and not here")
  pooled = fields.flag("use_mean_pooling")
  objective, unused = {}, [*BUFFERS]
  if architecture == _CLASSIFIER and pooled:
    name, outputs = fields.classifier()
    eps = encoder["norm_eps"]
    head = dict(num_outputs=outputs, pool="mean", norm=True, norm_eps=eps)
    objective = dict(name=name, head=head)
  else:
    unused.append(r"pooler\..*")
  if architecture == _CLASSIFIER and not pooled:
    unused.append(r"classifier\..*")
    notes.append(
      "the classifier was left out: with use_mean_pooling=False it reads the "
      "CLS token, and ours the patches"
    )
  if architecture in _LEFT_OUT:
    unused.append(_LEFT_OUT[architecture])
    notes.append(f"the head of {architecture} was left out: ours has none such")
  absent = ()
  if "embeddings.mask_token" not in arrays:
    absent = ("mask_token",)
    notes.append("it has no mask token: ours is zero until it is trained")
  if positions == "absolute" and not any(fields[name] for name in _POSITIONS):
    absent += ("position_embedding",)
  return Foreign(
    modality="vision",
    encoder={**encoder, **mean_std},
    objective=objective,
    inputs=jax.ShapeDtypeStruct((1, side, side, channels), jnp.float32),
    arrays=arrays,
    rules=names.vision(encoder["patch_size"]),
    unused=tuple(unused),
    absent=absent,
    data={} if channels == 3 else {"channels": channels},
    notes=tuple(notes),
  )


def write(
  model: Imported,
  encoder: dict[str, Any],
  head: Any,
  params: dict[str, Any],
) -> Outgoing:
  """Writes a vision model.

  Args:
    model: nothing more of it is needed.
    encoder: all arguments of `vit`.
    head: the supervised objective's head, or None.
    params: of the encoder, and `head` if there is one.

  Raises:
    InterchangeError: a setting cannot be expressed.
  """
  del model
  for name, wanted, why in (
    ("cls_token", True, "models there have a CLS token"),
    ("pre_norm", True, "models there have their norms before each branch"),
  ):
    if encoder[name] != wanted:
      raise refuse(f"encoder.{name}", encoder[name], why)
  notes = () if head is None else _check_head(encoder, head)
  positions, patch = encoder["positions"], encoder["patch_size"]
  if positions == "sincos":
    grid = (encoder["image_size"] // patch,) * 2
    table = sincos_positions(grid, encoder["width"])
    cls = np.zeros_like(table[:1])
    params = {
      **params,
      "position_embedding": np.concatenate([cls, table])[None],
    }
  arrays = to_torch(params, names.vision(patch))
  if head is not None:
    arrays = prefixed(arrays, PREFIX, ("classifier.",))
  channels = len(params["feature_encoder"]["proj"]["kernel"]) // patch**2
  config = dict(
    architectures=[BASE if head is None else _CLASSIFIER],
    model_type=MODEL_TYPE,
    hidden_size=encoder["width"],
    num_hidden_layers=encoder["depth"],
    num_attention_heads=encoder["num_heads"],
    intermediate_size=math.floor(encoder["width"] * encoder["mlp_ratio"]),
    hidden_act="gelu",
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=encoder["attention_dropout"],
    initializer_range=0.02,
    layer_norm_eps=encoder["norm_eps"],
    image_size=encoder["image_size"],
    patch_size=patch,
    num_channels=channels,
    use_mask_token=True,
    use_absolute_position_embeddings=positions in ("absolute", "sincos"),
    use_relative_position_bias=positions == "relative_layers",
    use_shared_relative_position_bias=positions == "relative",
    layer_scale_init_value=encoder["layer_scale"],
    drop_path_rate=encoder["drop_path"],
    use_mean_pooling=not encoder["final_norm"],
  )
  files = {preprocessor.NAME: preprocessor.write(encoder, channels)}
  return Outgoing(config, arrays, files, tuple(notes))


def _encoder(fields, positions):
  width = fields.integer("hidden_size")
  hidden = fields.integer("intermediate_size")
  patch = fields.square("patch_size", 1024)
  ratio = hidden / width
  while math.floor(width * ratio) < hidden:
    ratio = math.nextafter(ratio, math.inf)
  return dict(
    name="vit",
    image_size=fields.square("image_size", patch * _LARGEST_GRID),
    patch_size=patch,
    width=width,
    depth=fields.integer("num_hidden_layers", 1, 1000),
    num_heads=fields.integer("num_attention_heads"),
    mlp_ratio=ratio,
    positions=positions,
    final_norm=not fields.flag("use_mean_pooling"),
    layer_scale=fields.number("layer_scale_init_value", 1e6),
    norm_eps=fields.number("layer_norm_eps", 1.0),
    drop_path=fields.rate("drop_path_rate"),
    attention_dropout=fields.rate("attention_probs_dropout_prob"),
  )


def _positions(fields):
  on = [name for name in _POSITIONS if fields.flag(name)]
  for name in on[1:]:  # ours are of one kind
    fields.only(name, False)
  if on:
    return _POSITIONS[on[0]], []
  return "absolute", ["it has no positions: ours are zero until trained"]


def _check_head(encoder, head):
  for field, value, wanted in (
    ("objective.head.pool", head.pool, "mean"),
    ("objective.head.hidden", head.hidden, False),
    ("objective.head.norm", head.norm, True),
    ("encoder.final_norm", encoder["final_norm"], False),
  ):
    if value != wanted:
      raise refuse(
        field,
        value,
        "a classifier there is the mean of the patches without a norm before, "
        f"a norm, and one linear map; it would have to be {wanted!r}",
      )
  eps = encoder["norm_eps"]
  if head.norm_eps == eps:
    return ()
  return (
    f"the head's norm has epsilon {eps} there; in training it was "
    f"{head.norm_eps}",
  )
