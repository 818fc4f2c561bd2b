"""A run, built from its config: the one place that knows all the parts."""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
import optax

from d2v_jax import config as config_lib
from d2v_jax import ema as ema_lib
from d2v_jax import health as health_lib
from d2v_jax import optimizer as optimizer_lib
from d2v_jax import sharding as sharding_lib
from d2v_jax.config import ConfigError, Spec
from d2v_jax.data import pipeline
from d2v_jax.evaluators import EVALUATORS
from d2v_jax.modalities import MODALITIES
from d2v_jax.models.heads import RegressionHead
from d2v_jax.objectives import OBJECTIVES

# Parts that objectives are made of: their sub-dicts become these.
_PARTS = {"head": RegressionHead, "ema": ema_lib.Ema}

# What may change between a run and its continuation: nothing that the numbers
# depend on.
RESUMABLE = (
  "log_every",
  "checkpoint_every",
  "checkpoints",
  "evaluation",
  "health",
  "init_from",
  "num_devices",
  "sharding",
  "data.source.path",
  "data.source.data_dir",
  "data.num_threads",
  "data.num_workers",
  "data.max_corrupt",
)


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


@dataclasses.dataclass(frozen=True)
class Experiment:
  """Everything a run is made of; `config` is what it was built from."""

  config: dict[str, Any]
  seed: int
  total_steps: int
  batch_size: int
  accumulate: int
  log_every: int
  checkpoint_every: int
  checkpoints: dict[str, Any]
  init_from: str
  objective: Any
  tx: optax.GradientTransformation
  schedule: optimizer_lib.Schedule
  mesh: jax.sharding.Mesh
  sharding: str
  health: health_lib.Health
  num_examples: int
  example_batch: dict[str, jax.ShapeDtypeStruct]
  batches: Callable[..., Iterator[dict[str, np.ndarray]]]
  evaluation: Evaluation


def from_config(config: Any) -> Experiment:
  """Builds a run from a config; its fields are the arguments of `_build`.

  Raises:
    ConfigError: names the field, what was got and what is allowed.
  """
  spec = config_lib.plain(config)
  missing = [
    name
    for name, p in inspect.signature(_build).parameters.items()
    if p.default is p.empty and name not in spec and name != "config"
  ]
  if missing:
    raise ConfigError(f"config: missing fields: {', '.join(missing)}.")
  return config_lib.call(_build, spec, "config", config=spec)


def _build(
  *,
  config: Spec,
  seed: int,
  total_steps: int,
  batch_size: int,
  log_every: int,
  checkpoint_every: int,
  modality: str,
  data: Spec,
  encoder: Spec,
  objective: Spec,
  schedule: Spec,
  optimizer: Spec,
  evaluation: Spec,
  accumulate: int = 1,
  checkpoints: Spec | None = None,
  health: Spec | None = None,
  sharding: str = "replicated",
  num_devices: int | None = None,
  compute_dtype: str = "float32",
  init_from: str = "",
) -> Experiment:
  for name, value in (
    ("total_steps", total_steps),
    ("batch_size", batch_size),
    ("log_every", log_every),
    ("checkpoint_every", checkpoint_every),
    ("accumulate", accumulate),
  ):
    if value < 1:
      raise ConfigError(f"config.{name} must be 1 or more, got {value}.")
  if modality not in MODALITIES:
    raise ConfigError(
      f"config.modality: unknown {modality!r}; choose one of: "
      f"{', '.join(sorted(MODALITIES))}."
    )
  mesh = config_lib.call(
    sharding_lib.make_mesh, {"num_devices": num_devices}, "config"
  )
  if mesh.size < len(jax.devices()) and jax.process_count() > 1:
    raise ConfigError(
      f"config.num_devices: several processes use all {len(jax.devices())} "
      f"devices, got {num_devices}; leave it out."
    )
  if batch_size % (accumulate * mesh.size):
    raise ConfigError(
      f"config.batch_size {batch_size} is not a multiple of accumulate "
      f"{accumulate} x {mesh.size} devices; change one of them."
    )
  if sharding not in sharding_lib.RULES:
    raise ConfigError(
      f"config.sharding: unknown {sharding!r}; choose one of: "
      f"{', '.join(sharding_lib.RULES)}."
    )
  row = MODALITIES[modality]
  network = config_lib.call(
    row.encoder, encoder, "config.encoder", compute_dtype=compute_dtype
  )
  shared = {k: encoder[k] for k in row.shared if k in encoder}
  source, transform, options = _train_data(row, data, shared, network.grid)
  rate = config_lib.build(
    schedule,
    optimizer_lib.SCHEDULES,
    "config.schedule",
    total_steps=total_steps,
  )
  return Experiment(
    config=config,
    seed=seed,
    total_steps=total_steps,
    batch_size=batch_size,
    accumulate=accumulate,
    log_every=log_every,
    checkpoint_every=checkpoint_every,
    checkpoints=dict(checkpoints or {}),
    init_from=init_from,
    objective=_objective(objective, network, compute_dtype),
    tx=config_lib.call(
      optimizer_lib.adamw, optimizer, "config.optimizer", schedule=rate
    ),
    schedule=rate,
    mesh=mesh,
    sharding=sharding,
    health=config_lib.call(health_lib.Health, health or {}, "config.health"),
    num_examples=len(source),
    example_batch=_shapes(transform, source, batch_size),
    batches=functools.partial(
      pipeline.train_batches,
      source,
      transform,
      seed=seed,
      batch_size=batch_size,
      process_index=jax.process_index(),
      process_count=jax.process_count(),
      **options,
    ),
    evaluation=_evaluation(row, evaluation, data, shared, mesh.size),
  )


def _objective(spec, network, compute_dtype):
  spec = dict(spec)
  where = "config.objective"
  for name, constructor in _PARTS.items():
    if name in spec:
      given = {}
      if "compute_dtype" in config_lib.parameters(constructor):
        given["compute_dtype"] = compute_dtype
      spec[name] = config_lib.call(
        constructor, spec[name], f"{where}.{name}", **given
      )
  return config_lib.build(spec, OBJECTIVES, where, encoder=network)


def _train_data(row, spec, shared, grid):
  spec = dict(spec)
  where = "config.data"
  source = _source(row, spec.pop("source", {}), spec, f"{where}.source")
  spec.pop("channels", None)
  mask = config_lib.build(spec.pop("mask", {}), row.masks, f"{where}.mask")
  # An impossible mask should be an error now and not in a worker later.
  config_lib.call(lambda: mask(np.random.default_rng(0), grid), {}, where)
  transform = config_lib.call(
    row.train_transform,
    spec.pop("augment", {}),
    f"{where}.augment",
    mask=mask,
    **shared,
  )
  allowed = ("num_threads", "num_workers", "max_corrupt")
  unknown = set(spec) - set(allowed)
  if unknown:
    raise ConfigError(
      f"{where}: unknown fields {sorted(unknown)}; choose from: augment, "
      f"channels, mask, source, {', '.join(allowed)}."
    )
  config_lib.check_types(pipeline.train_batches, spec, where)
  return source, transform, spec


def _source(row, spec, data, where):
  source = config_lib.build(spec, row.sources, where)
  given = {"channels": data["channels"]} if "channels" in data else {}
  return config_lib.call(row.decoded, {}, where, source=source, **given)


def _shapes(transform, source, batch_size):
  example = transform(source[0], np.random.default_rng(0))
  return {
    key: jax.ShapeDtypeStruct((batch_size, *value.shape), value.dtype)
    for key, value in example.items()
    if key not in ("requested", "record")
  }


def _evaluation(row, spec, data, shared, num_devices):
  spec = {k: v for k, v in spec.items() if v is not None}
  where = "config.evaluation"
  evaluators = {
    name: config_lib.build(
      {"name": name, **s}, EVALUATORS, f"{where}.evaluators.{name}"
    )
    for name, s in (spec.pop("evaluators", None) or {}).items()
    if s is not None
  }
  splits = {s: spec.pop(s) for s in ("train", "test") if s in spec}
  if evaluators and set(splits) != {"train", "test"}:
    raise ConfigError(
      f"{where}: evaluators need both a `train` and a `test` source, got "
      f"{sorted(splits) or 'none'}; add them or leave the evaluators out."
    )
  if evaluators:  # else nobody needs the data to be there
    splits = {
      split: _source(row, source, data, f"{where}.{split}")
      for split, source in splits.items()
    }
  allowed = config_lib.parameters(row.eval_transform)
  transform = config_lib.call(
    row.eval_transform,
    spec.pop("transform", {}),
    f"{where}.transform",
    **{k: v for k, v in shared.items() if k in allowed},
  )
  batch_size = spec.pop("batch_size", 64 * num_devices)
  if batch_size % num_devices:
    raise ConfigError(
      f"{where}.batch_size {batch_size} is not a multiple of {num_devices} "
      "devices; change it."
    )

  def batches(split):
    return pipeline.eval_batches(
      splits[split],
      transform,
      batch_size=batch_size,
      process_index=jax.process_index(),
      process_count=jax.process_count(),
    )

  return config_lib.call(
    Evaluation, spec, where, evaluators=evaluators, batches=batches
  )
