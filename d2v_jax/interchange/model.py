"""A model on its way in or out, and how a foreign one becomes ours."""

import dataclasses
from typing import Any

import jax
import numpy as np

from d2v_jax import config as config_lib
from d2v_jax.interchange.weights import Arrays, InterchangeError, Rule, to_tree
from d2v_jax.modalities import MODALITIES
from d2v_jax.models.encoder import Encoder
from d2v_jax.objectives import OBJECTIVES


@dataclasses.dataclass(frozen=True)
class Imported:
  """A model from elsewhere, on the way to become a run of ours.

  Attributes:
    modality: 'vision', 'speech' or 'text'.
    encoder: arguments of the modality's encoder constructor.
    objective: config.objective as far as the file tells it, its `name` first;
      `{}` for an encoder alone.
    params: the student's tree of float32 arrays: the encoder's sub-trees, and
      `head` where there is one.
    teacher_params: sub-trees of which the file has an average of its own; `{}`
      where it has none.
    data: what config.data must have for this model, such as `labels`.
    files: name -> bytes of files to put beside the run, such as a tokenizer.
    description: what the model is, in one line.
    notes: what was left out or assumed, and licences, a line each.
  """

  modality: str
  encoder: dict[str, Any]
  objective: dict[str, Any]
  params: dict[str, Any]
  teacher_params: dict[str, Any]
  data: dict[str, Any] = dataclasses.field(default_factory=dict)
  files: dict[str, bytes] = dataclasses.field(default_factory=dict)
  description: str = ""
  notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Foreign:
  """A model under its own names.

  Attributes:
    modality: a key of MODALITIES.
    encoder: arguments of its constructor.
    objective: config.objective; {} for an encoder alone.
    inputs: an example of the encoder's input, [1, ...].
    arrays: the student's weights.
    rules: their names <-> our paths.
    teacher: weights of the file's own average, as far as it has one.
    tracked: sub-trees that are averaged; () for all.
    unused: regular expressions of names that are left out on purpose.
    absent: sub-trees of ours that this model does not have and that are not
      part of what it computes; they become zeros.
    data, files, description, notes: as in `Imported`.
  """

  modality: str
  encoder: dict[str, Any]
  objective: dict[str, Any]
  inputs: jax.ShapeDtypeStruct
  arrays: Arrays
  rules: tuple[Rule, ...]
  teacher: Arrays = dataclasses.field(default_factory=dict)
  tracked: tuple[str, ...] = ()
  unused: tuple[str, ...] = ()
  absent: tuple[str, ...] = ()
  data: dict[str, Any] = dataclasses.field(default_factory=dict)
  files: dict[str, bytes] = dataclasses.field(default_factory=dict)
  description: str = ""
  notes: tuple[str, ...] = ()


def assemble(model: Foreign, source: str) -> Imported:
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
      (objective or encoder).init, jax.random.key(0), {"inputs": model.inputs}
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
  return Imported(
    modality=model.modality,
    encoder=model.encoder,
    objective=model.objective,
    params=jax.tree.map(_own, params),
    teacher_params=jax.tree.map(_own, teacher_params),
    data=model.data,
    files=model.files,
    description=model.description,
    notes=model.notes,
  )


def _own(x: np.ndarray) -> np.ndarray:
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
