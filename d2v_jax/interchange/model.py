"""A model on its way in or out, and how a foreign one becomes ours."""

import dataclasses
import inspect
import math
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from d2v_jax import config as config_lib
from d2v_jax.data.layout import ImageInputs, Inputs
from d2v_jax.interchange.weights import (
  Arrays,
  InterchangeError,
  Rule,
  flatten,
  to_tree,
)
from d2v_jax.modalities import MODALITIES
from d2v_jax.models.encoder import Encoder
from d2v_jax.objectives import OBJECTIVES
from d2v_jax.training.inherited import INPUTS_MADE_WITH

# Of config.data, what is between a file and a feature or a prediction.
DATA = (*INPUTS_MADE_WITH, "labels", "classes")
# The map of patches, whose rows are their pixels.
_PATCHES = "feature_encoder/proj/kernel"
# Samples that make a frame: six hours; beyond are mistakes, or worse.
_LONGEST = 2**28


@dataclasses.dataclass(frozen=True, kw_only=True)
class Description:
  """All of a model but its weights.

  Attributes:
    modality: a key of MODALITIES.
    encoder: arguments of the modality's encoder constructor.
    objective: config.objective as far as it is known, its `name` first; `{}`
      for an encoder alone.
    data: what config.data must have for this model, such as `labels`.
    files: name -> bytes of files to put beside the run, such as a tokenizer.
    description: what the model is, in one line.
    notes: what was left out or assumed, and licences, a line each.
  """

  modality: str
  encoder: dict[str, Any]
  objective: dict[str, Any] = dataclasses.field(default_factory=dict)
  data: dict[str, Any] = dataclasses.field(default_factory=dict)
  files: dict[str, bytes] = dataclasses.field(default_factory=dict)
  description: str = ""
  notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Model(Description):
  """A model in our terms.

  Attributes:
    params: the student's tree of float32 arrays: the encoder's sub-trees, and
      `head` where there is one.
    teacher_params: sub-trees of which there is an average of its own; `{}`
      where there is none.
  """

  params: dict[str, Any]
  teacher_params: dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Foreign(Description):
  """A model under its own names.

  Attributes:
    arrays: the student's weights.
    rules: their names <-> our paths.
    channels: of images; None: `arrays` have our names and tell it.
    teacher: weights of the file's own average, as far as it has one.
    tracked: sub-trees that are averaged; () for all.
    unused: regular expressions of names that are left out on purpose.
    absent: sub-trees of ours that this model does not have and that are not
      part of what it computes; they become zeros.
  """

  arrays: Arrays
  rules: tuple[Rule, ...]
  channels: int | None = 3
  teacher: Arrays = dataclasses.field(default_factory=dict)
  tracked: tuple[str, ...] = ()
  unused: tuple[str, ...] = ()
  absent: tuple[str, ...] = ()


def assemble(model: Foreign, source: str) -> Model:
  """Gives every weight its place.

  Args:
    model: what was found in a file.
    source: the file, for errors.

  Raises:
    InterchangeError: weights are missing, unexpected or of another shape, or
      the options describe no model; nothing is loaded by half.
  """
  try:
    encoder, objective = build(model.modality, model.encoder, model.objective)
    config_lib.call(
      MODALITIES[model.modality].data,
      model.data,
      "data",
      run={"inputs": encoder.inputs},
    )
    shapes = jax.eval_shape(
      (objective or encoder).init,
      jax.random.key(0),
      {"inputs": _example(model, encoder.inputs)},
    )
  except ValueError as e:
    raise InterchangeError(f"{source}: {e}") from e
  has_head = "head" in shapes
  filled = {name: shapes.pop(name) for name in model.absent}
  params = to_tree(
    model.arrays, model.rules, shapes, unused=model.unused, source=source
  )
  params |= jax.tree.map(lambda x: np.zeros(x.shape, np.float32), filled)
  if has_head:
    params.setdefault("head", {})
  teacher_params = {}
  if model.teacher:
    averaged = model.tracked or tuple(shapes)
    teacher_params = to_tree(
      model.teacher,
      model.rules,
      {name: shapes[name] for name in averaged},
      unused=model.unused,
      source=f"the teacher in {source}",
    )
    if "head" in averaged:
      teacher_params.setdefault("head", {})
  shared = dataclasses.fields(Description)
  return Model(
    **{field.name: getattr(model, field.name) for field in shared},
    params=jax.tree.map(_owned, params),
    teacher_params=jax.tree.map(_owned, teacher_params),
  )


def _example(model: Foreign, inputs: Inputs) -> jax.ShapeDtypeStruct:
  """One image [1, H, W, C], or as few samples or tokens as there can be.

  As a shape alone: in a hostile file it may be one that no memory holds.
  """
  if isinstance(inputs, ImageInputs):
    count = model.channels
    if count is None:
      count = channels(inputs.patch_size, model.arrays)
    return jax.ShapeDtypeStruct((1, *inputs.size, count), np.uint8)
  if inputs.shortest > _LONGEST:
    raise ValueError(
      f"its first frame takes more than {_LONGEST} samples (conv_layers)."
    )
  example = inputs.example()["inputs"]
  return jax.ShapeDtypeStruct(example.shape, example.dtype)


def channels(patch_size: int, params: Mapping[str, Any]) -> int:
  """Channels of the images that these parameters, or their shapes, are for.

  Raises:
    InterchangeError: they have no place for images.
  """
  kernel, pixels = flatten(params).get(_PATCHES), patch_size**2
  if kernel is None or kernel.shape[0] % pixels:
    raise InterchangeError(
      f"{_PATCHES} must have a multiple of {pixels} rows, a row for each pixel "
      f"of a patch and channel; got {getattr(kernel, 'shape', 'none')}."
    )
  return kernel.shape[0] // pixels


def _owned(x: np.ndarray) -> np.ndarray:
  """Not a view of a file, which may change."""
  return x if x.flags.owndata else x.copy()


def build(
  modality: str, encoder: dict[str, Any], objective: dict[str, Any]
) -> tuple[Encoder, Any]:
  """The encoder, and the objective or None.

  Raises:
    ValueError: the options do not describe what this library has.
  """
  network = config_lib.build(encoder, MODALITIES[modality].encoders, "encoder")
  if not objective:
    return network, None
  whole = config_lib.build(
    objective,
    OBJECTIVES,
    "objective",
    run={"grid": network.grid},
    encoder=network,
  )
  targets = objective.get("targets", {})
  top_k, depth = targets.get("top_k", 1), encoder["depth"]
  if not 1 <= top_k <= depth:
    raise ValueError(
      f"objective: it averages {top_k} layers, and there are {depth}."
    )
  return network, whole


def resolved(modality: str, encoder: Mapping[str, Any]) -> dict[str, Any]:
  """Arguments of an encoder, those that are left out among them."""
  constructor = MODALITIES[modality].encoders[encoder["name"]]
  defaults = inspect.signature(constructor).parameters
  given = {
    k: p.default for k, p in defaults.items() if p.default is not p.empty
  }
  return given | dict(encoder)


def mlp_ratio(hidden: int, width: int) -> float:
  """Hidden width over D; times D it is `hidden`, rounded or cut off."""
  ratio = hidden / max(width, 1)
  while math.floor(width * ratio) < hidden:
    ratio = math.nextafter(ratio, math.inf)
  return ratio


def character_labels(characters: str) -> dict[str, Any]:
  """config.data.labels of a CTC model with these outputs after the blank."""
  cases = {"upper": characters.upper(), "lower": characters.lower()}
  fitting = [case for case, text in cases.items() if text == characters]
  return {
    "name": "characters",
    "characters": characters,
    "case": fitting[0] if len(fitting) == 1 else None,
    # Longer than any sentence; only labels that are longer are an error.
    "max_length": 1024,
  }
