"""From config.evaluation to evaluators and the batches that they measure."""

import dataclasses
import difflib
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from d2v_jax import config as config_lib
from d2v_jax.config import ConfigError, Spec
from d2v_jax.data import pipeline
from d2v_jax.data.buckets import Buckets, growing
from d2v_jax.data.dataset import EVALUATION, Dataset
from d2v_jax.evaluators import EVALUATORS, Evaluator
from d2v_jax.evaluators.features import (
  Features,
  Predictions,
  TokenSums,
  is_split,
)
from d2v_jax.evaluators.pooling import Grid

Batches = Iterator[dict[str, np.ndarray]]

# Rows of a batch for each device, unless the config says it.
_ROWS = 64


@dataclasses.dataclass(frozen=True)
class Evaluation:
  """What is measured, and on what.

  Attributes:
    evaluators: metric prefix -> evaluator.
    batches: split ('train', 'test', 'test_...') -> its host batches in order.
    records: split -> its source.
    every: updates between evaluations; 0 leaves only the first and the last.
    references: most training examples of which simple features are measured at
      the end; 0: none.
  """

  evaluators: Mapping[str, Evaluator]
  batches: Callable[[str], Batches]
  records: Mapping[str, Any]
  every: int = 0
  references: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Fields:
  """Fields of config.evaluation beside its splits.

  Attributes:
    evaluators: name of each, or another key and the name among its fields ->
      its fields; None leaves one out.
    buckets: lengths of batches; None: those of config.data, or where it has
      none, lengths that hold every example.
    batch_size: rows of a global batch, as many more as make each device's
      share whole; None: 64 for each device.
    every: see `Evaluation`.
    references: see `Evaluation`.
  """

  evaluators: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  buckets: Buckets | None = None
  batch_size: int | None = None
  every: int = 0
  references: int = 20_000

  def __post_init__(self):
    for name in ("every", "references"):
      if getattr(self, name) < 0:
        raise ConfigError(
          f"{EVALUATION}.{name} must be 0 or more, got {getattr(self, name)}."
        )
    if self.batch_size is not None and self.batch_size < 1:
      raise ConfigError(
        f"{EVALUATION}.batch_size must be 1 or more, got {self.batch_size}."
      )


@dataclasses.dataclass(frozen=True)
class EvaluationPlan:
  """config.evaluation, checked; its data are not opened yet."""

  data: Dataset
  fields: _Fields
  evaluators: Mapping[str, Evaluator]
  splits: Mapping[str, Spec]
  batch_size: int

  def open(self, learned_from: Any = None) -> Evaluation:
    """Opens the splits that evaluators ask for; the others need not be there.

    Args:
      learned_from: source of a supervised objective, whose classes must be
        those of the splits; or None.

    Raises:
      ConfigError: names the field, what was got and what is allowed.
    """
    data = self.data
    records = {
      split: data.open(section, f"{EVALUATION}.{split}")
      for split, section in sorted(self.splits.items())
    }
    check_classes({"config.data.source": learned_from, **records})
    examples = {
      split: data.evaluation(source, f"{EVALUATION}.{split}")
      for split, source in records.items()
    }
    passes = {
      split: functools.partial(
        pipeline.eval_batches,
        *examples[split],
        batch_size=self.batch_size,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        buckets=self.buckets(examples[split].source),
      )
      for split in records
    }
    return Evaluation(
      self.evaluators,
      lambda split: passes[split](),
      records,
      self.fields.every,
      self.fields.references,
    )

  def buckets(self, source: Any) -> Buckets | None:
    """Lengths of batches of a split; None for examples of one shape.

    Args:
      source: its examples.
    """
    given = self.fields.buckets or self.data.buckets
    if given is None and self.data.needs_buckets:
      lengths = source.lengths
      return growing(int(np.min(lengths)), int(np.max(lengths)))
    return given


def plan(
  spec: Spec, data: Dataset, mesh: jax.sharding.Mesh, grid: Grid
) -> EvaluationPlan:
  """Evaluators and splits of config.evaluation.

  Args:
    spec: config.evaluation.
    data: config.data.
    mesh: devices that batches are split over, and the work of evaluators.
    grid: (H, W) of the network's patches; () for tokens in time.

  Raises:
    ConfigError: names the field, what was got and what is allowed.
  """
  splits = {k: v for k, v in spec.items() if is_split(k) and v is not None}
  rest = {k: v for k, v in spec.items() if not is_split(k)}
  names = [f.name for f in dataclasses.fields(_Fields)]
  config_lib.check_fields(
    rest, [*names, "train", "test", "test_..."], EVALUATION
  )
  fields = config_lib.call(_Fields, rest, EVALUATION)
  if fields.buckets is not None and not data.needs_buckets:
    raise ConfigError(
      f"{EVALUATION}.buckets: examples all have one size; leave it out."
    )
  for split, section in splits.items():
    data.check_source(section, f"{EVALUATION}.{split}")
  evaluators = _evaluators(fields.evaluators, data, mesh)
  for key, evaluator in evaluators.items():
    if isinstance(evaluator.features, Features):
      with config_lib.errors_at(f"{EVALUATION}.evaluators.{key}"):
        evaluator.features.check(grid)
  needed = _needed_splits(evaluators.values())
  _check_splits(needed, splits)
  # Rows are filled up to whole batches anyway.
  rows = -(-(fields.batch_size or _ROWS * mesh.size) // mesh.size)
  return EvaluationPlan(
    data, fields, evaluators, {k: splits[k] for k in needed}, rows * mesh.size
  )


def _evaluators(
  spec: Mapping[str, Any], data: Dataset, mesh: jax.sharding.Mesh
) -> dict[str, Evaluator]:
  where = f"{EVALUATION}.evaluators"
  run = {"labels": data.labels, "mesh": mesh}
  made = {}
  for key, section in spec.items():
    if section is None:
      continue
    named = isinstance(section, Mapping) and difflib.get_close_matches(
      "name", section, n=1
    )
    if named and ("name" in section or key not in EVALUATORS):
      # Two of a kind have keys of their own.
      made[key] = config_lib.build(
        section, EVALUATORS, f"{where}.{key}", run=run
      )
    else:
      config_lib.check_fields([key], EVALUATORS, where)
      made[key] = config_lib.call(
        EVALUATORS[key], section, f"{where}.{key}", run=run
      )
  return made


def _needed_splits(evaluators: Any) -> set[str]:
  needed = set()
  for evaluator in evaluators:
    wanted = evaluator.features
    one = isinstance(wanted, Predictions | TokenSums)
    needed |= {wanted.split} if one else {"train", "test"}
  return needed


def _check_splits(needed: set[str], splits: Mapping[str, Any]) -> None:
  if not needed - set(splits):
    return
  both = {"train", "test"} <= needed
  order = sorted(needed, key=lambda s: (s != "train", s))
  names = "` and a `".join(order)
  wanted = f"both a `{names}`" if both else f"a `{names}`"
  raise ConfigError(
    f"{EVALUATION}: evaluators need {wanted} source, got "
    f"{sorted(splits) or 'none'}; add them or leave the evaluators out."
  )


def check_classes(sources: Mapping[str, Any]) -> None:
  """Class numbers must mean the same in every split.

  Args:
    sources: path in the config -> source; what has no classes agrees with all.

  Raises:
    ConfigError: they do not.
  """
  names = {k: getattr(s, "class_names", ()) for k, s in sources.items()}
  names = {k: n for k, n in names.items() if n}
  if len(set(names.values())) > 1:
    common = set.intersection(*map(set, names.values()))
    own = {k: [x for x in n if x not in common][:8] for k, n in names.items()}
    listed = "; ".join(
      f"{k} has {len(names[k])}, of its own {', '.join(x) or 'none'}"
      for k, x in own.items()
    )
    raise ConfigError(
      f"{EVALUATION}: the splits have different classes: {listed}. Each needs "
      "examples (or the argument `classes`) of all."
    )
