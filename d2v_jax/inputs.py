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
from d2v_jax.evaluators.features import Predictions
from d2v_jax.modalities import Modality


@dataclasses.dataclass(frozen=True)
class Evaluation:
  """Frozen-feature evaluation.

  Attributes:
    evaluators: metric prefix -> evaluator.
    batches: split ('train' or 'test') -> host batches of that split in order.
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
    mask = given["mask"]
    config_lib.call(lambda: mask(np.random.default_rng(0), grid), {}, where)
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


def evaluation_from(row, spec, data, shared, num_devices):
  """Evaluators and batches of config.evaluation."""
  spec = {k: v for k, v in spec.items() if v is not None}
  where = "config.evaluation"
  labels = optional(dict(data), "labels", LABELS, "config.data")
  evaluators = {
    name: _evaluator({"name": name, **s}, f"{where}.evaluators.{name}", labels)
    for name, s in (spec.pop("evaluators", None) or {}).items()
    if s is not None
  }
  splits = {s: spec.pop(s) for s in ("train", "test") if s in spec}
  needed = set()
  for evaluator in evaluators.values():
    wanted = evaluator.features
    predicts = isinstance(wanted, Predictions)
    needed |= {wanted.split} if predicts else {"train", "test"}
  if needed - set(splits):
    both = "both a `train` and a `test`"
    wanted = both if len(needed) > 1 else f"a `{min(needed)}`"
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
  _check_classes(sources, where)
  passes = {
    split: _evaluation_pass(
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
  if all(names.values()) and len(set(names.values())) > 1:
    raise ConfigError(
      f"{where}: the splits have different classes: "
      + "; ".join(f"{k} has {', '.join(n)}" for k, n in names.items())
      + ". Both need examples (or the argument `classes`) of all."
    )


def _evaluator(spec, where, labels):
  given = {}
  # Given also when there are none, since the evaluator says what is missing.
  if "labels" in config_lib.parameters(
    EVALUATORS.get(spec["name"], Evaluation)
  ):
    given["labels"] = labels
  return config_lib.build(spec, EVALUATORS, where, **given)


def _evaluation_pass(
  row, raw, fields, where, *, data, given, batch_size, buckets
):
  """Returns what starts a pass over the batches of a source of records."""
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
