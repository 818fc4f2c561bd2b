"""From config.data and config.evaluation to batches and evaluators.

The one place that knows how the parts of a modality's data fit together.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from d2v_jax import config as config_lib
from d2v_jax.config import ConfigError, Spec
from d2v_jax.data import pipeline
from d2v_jax.data.buckets import Buckets
from d2v_jax.data.labels import LABELS, RecordLabel
from d2v_jax.evaluators import EVALUATORS
from d2v_jax.evaluators.features import Predictions, is_split
from d2v_jax.modalities import Modality


@dataclasses.dataclass(frozen=True)
class Evaluation:
  """Frozen-feature evaluation.

  Attributes:
    evaluators: metric prefix -> evaluator.
    batches: split ('train', 'test', 'test_...') -> its host batches in order.
    every: updates between evaluations; 0 leaves only the first and the last.
  """

  evaluators: dict[str, Any]
  batches: Callable[[str], Iterator[dict[str, np.ndarray]]]
  every: int = 0


def shared_arguments(row: Modality, encoder: Spec) -> dict[str, Any]:
  """What the data must agree on with the encoder, defaults included."""
  defaults = inspect.signature(row.encoder).parameters
  return {k: encoder.get(k, defaults[k].default) for k in row.shared}


def accepted(constructor, given):
  """What the constructor has arguments for, and is there."""
  allowed = config_lib.parameters(constructor)
  return {k: v for k, v in given.items() if k in allowed and v is not None}


def train_data(row, spec, shared, grid):
  """Source, transform and options of `pipeline.train_batches`."""
  spec = dict(spec)
  where = "config.data"
  taken = config_lib.parameters(row.train_source)
  taken |= config_lib.parameters(row.train_transform)
  tables = {"labels": LABELS, "mask": row.masks, "channel_mask": row.masks}
  given = dict(shared)
  for name, table in tables.items():
    if name in taken:
      given[name] = optional(spec, name, table, where)
  if grid and given["mask"] is not None:
    # An impossible mask should be an error now and not in a worker later.
    config_lib.call(lambda: given["mask"].check(grid), {}, where)
  given["buckets"] = _buckets(spec, where) if row.needs_buckets else None
  if given["buckets"] is None and row.needs_buckets:
    raise ConfigError(
      f"{where}.buckets: examples differ in length; give the lengths of "
      "batches, such as buckets=dict(lengths=(...,)), in samples or tokens."
    )
  raw = config_lib.build(spec.pop("source", {}), row.sources, f"{where}.source")
  own = config_lib.parameters(row.train_source) - set(given)
  fields = {k: spec.pop(k) for k in list(spec) if k in own and k != "source"}
  source = config_lib.call(
    row.train_source,
    fields,
    where,
    source=raw,
    **accepted(row.train_source, given),
  )
  transform = config_lib.call(
    row.train_transform,
    spec.pop("augment", {}),
    f"{where}.augment",
    **accepted(row.train_transform, given),
  )
  if given["buckets"] is not None:
    for length in given["buckets"].lengths:
      call = functools.partial(
        transform.check_length, length, int(source.lengths.min())
      )
      config_lib.call(call, {}, f"{where}.buckets.lengths={length}")
  allowed = ("num_threads", "num_workers", "max_corrupt")
  unknown = set(spec) - set(allowed)
  if unknown:
    choices = {"augment", "source", *own, *allowed, *set(tables) & taken}
    choices |= {"buckets"} if row.needs_buckets else set()
    raise ConfigError(
      f"{where}: unknown fields {sorted(unknown)}; choose from: "
      f"{', '.join(sorted(choices))}."
    )
  config_lib.check_types(pipeline.train_batches, spec, where)
  return source, transform, {**spec, "buckets": given["buckets"]}


def optional(spec, name, table, where):
  """Takes a section out of spec and builds it; None if it is not there."""
  part = spec.pop(name, None)
  if part is None:
    return None
  return config_lib.build(part, table, f"{where}.{name}")


def _buckets(spec, where):
  part = spec.pop("buckets", None)
  if part is None:
    return None
  return config_lib.call(Buckets, part, f"{where}.buckets")


def batch_shapes(transform, source, batch_size, buckets):
  """Shapes and dtypes of a global batch; of the longest, with buckets."""
  example = source[0]
  if buckets is not None:
    example = {**example, "length": buckets.lengths[-1]}
  example = transform(example, np.random.default_rng(0))
  return {
    key: jax.ShapeDtypeStruct((batch_size, *value.shape), value.dtype)
    for key, value in example.items()
    if key not in ("requested", "record")
  }


def evaluation_from(
  row: Modality,
  spec: Spec,
  data: Spec,
  shared: dict[str, Any],
  num_devices: int,
  learned_from: Any = None,
) -> Evaluation:
  """Evaluators and batches of config.evaluation.

  Args:
    row: the modality.
    spec: config.evaluation.
    data: config.data.
    shared: from `shared_arguments`.
    num_devices: that batches are split over.
    learned_from: source of a supervised objective, whose classes must be those
      of the splits; or None.

  Raises:
    ConfigError: names the field, what was got and what is allowed.
  """
  spec = {k: v for k, v in spec.items() if v is not None}
  where = "config.evaluation"
  labels = optional(dict(data), "labels", LABELS, "config.data")
  evaluators = {
    name: _evaluator({"name": name, **s}, f"{where}.evaluators.{name}", labels)
    for name, s in (spec.pop("evaluators", None) or {}).items()
    if s is not None
  }
  splits = {s: spec.pop(s) for s in list(spec) if is_split(s)}
  needed = set()
  for evaluator in evaluators.values():
    wanted = evaluator.features
    predicts = isinstance(wanted, Predictions)
    needed |= {wanted.split} if predicts else {"train", "test"}
  if needed - set(splits):
    both = {"train", "test"} <= needed
    order = sorted(needed, key=lambda s: (s != "train", s))
    names = "` and a `".join(order)
    wanted = f"both a `{names}`" if both else f"a `{names}`"
    raise ConfigError(
      f"{where}: evaluators need {wanted} source, got "
      f"{sorted(splits) or 'none'}; add them or leave the evaluators out."
    )
  buckets = None
  if row.needs_buckets:
    buckets = _buckets(spec, where) or _buckets(dict(data), "config.data")
  fields = spec.pop("transform", {})
  batch_size = spec.pop("batch_size", 64 * num_devices)
  if batch_size % num_devices:
    raise ConfigError(
      f"{where}.batch_size {batch_size} is not a multiple of {num_devices} "
      "devices; change it."
    )
  # Where nobody asks for them, the data need not be there.
  sources = {
    split: config_lib.build(splits[split], row.sources, f"{where}.{split}")
    for split in sorted(needed)
  }
  _check_classes({"config.data.source": learned_from, **sources}, where)
  passes = {
    split: evaluation_pass(
      row,
      source,
      fields,
      f"{where}.{split}",
      data=data,
      given={**shared, "labels": labels},
      batch_size=batch_size,
      buckets=buckets,
    )
    for split, source in sources.items()
  }
  return config_lib.call(
    Evaluation,
    spec,
    where,
    evaluators=evaluators,
    batches=lambda split: passes[split](),
  )


def _check_classes(sources, where):
  """Class numbers must mean the same in every split."""
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
      f"{where}: the splits have different classes: {listed}. Each needs "
      "examples (or the argument `classes`) of all."
    )


def _evaluator(spec, where, labels):
  given = {}
  # Given also when there are none, since the evaluator says what is missing.
  if "labels" in config_lib.parameters(
    EVALUATORS.get(spec["name"], Evaluation)
  ):
    given["labels"] = labels
  return config_lib.build(spec, EVALUATORS, where, **given)


def evaluation_pass(
  row: Modality,
  raw: Any,
  fields: Spec,
  where: str,
  *,
  data: Spec,
  given: dict[str, Any],
  batch_size: int,
  buckets: Buckets | None,
) -> Callable[[], Iterator[dict[str, np.ndarray]]]:
  """What starts a pass over the batches of a source of records.

  Args:
    row: the modality.
    raw: source of records.
    fields: config.evaluation.transform.
    where: the source's path in the config, for errors.
    data: config.data, of which evaluation takes what it has arguments for.
    given: shared arguments, and `labels` or None.
    batch_size: rows of a global batch.
    buckets: lengths of batches, or None.
  """
  if given["labels"] is None and getattr(raw, "class_names", ()):
    given = {**given, "labels": RecordLabel()}
  own = config_lib.parameters(row.eval_source) - set(given) - {"source"}
  source = config_lib.call(
    row.eval_source,
    {k: data[k] for k in own if k in data},
    where,
    source=raw,
    **accepted(row.eval_source, given),
  )
  transform = config_lib.call(
    row.eval_transform,
    fields,
    "config.evaluation.transform",
    **accepted(row.eval_transform, given),
  )
  return functools.partial(
    pipeline.eval_batches,
    source,
    transform,
    batch_size=batch_size,
    process_index=jax.process_index(),
    process_count=jax.process_count(),
    buckets=buckets,
  )
