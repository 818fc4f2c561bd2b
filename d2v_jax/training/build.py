"""A run, built from its config: the one place that knows all the parts."""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
import optax
from etils import epath

from d2v_jax import config as config_lib
from d2v_jax import pretrained
from d2v_jax.config import ConfigError, Spec
from d2v_jax.data import pipeline
from d2v_jax.data.labels import LABELS
from d2v_jax.modalities import MODALITIES
from d2v_jax.objectives import OBJECTIVES, PARTS
from d2v_jax.objectives.objective import Objective
from d2v_jax.training import health as health_lib
from d2v_jax.training import inputs, schedules
from d2v_jax.training import optimizer as optimizer_lib
from d2v_jax.training import sharding as sharding_lib

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
  init_model: str
  objective: Objective
  tx: optax.GradientTransformation
  schedule: schedules.Schedule
  mesh: jax.sharding.Mesh
  sharding: str
  health: health_lib.Health
  num_examples: int
  example_batch: dict[str, jax.ShapeDtypeStruct]
  batches: Callable[..., Iterator[dict[str, np.ndarray]]]
  evaluation: inputs.Evaluation


def from_config(
  config: Any, workdir: epath.PathLike | None = None
) -> Experiment:
  """Builds a run from a config; its fields are the arguments of `_build`.

  Args:
    config: what it leaves out is as in the run of `init_from`, where one is
      given.
    workdir: where the run lives, if that is known.

  Raises:
    ConfigError: names the field, what was got and what is allowed.
  """
  spec = pretrained.inherit(config, workdir)
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
  init_model: str = "student",
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
  shared = inputs.shared_arguments(row, encoder)
  source, transform, options = inputs.train_data(
    row, data, shared, network.grid
  )
  _check_outputs(objective, data, source)
  learned = _objective(objective, network, compute_dtype)
  # Weight decay must not move what an objective keeps frozen.
  still = {"freeze_steps": total_steps} if learned.frozen else {}
  rate = config_lib.build(
    schedule,
    schedules.SCHEDULES,
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
    init_model=init_model,
    objective=learned,
    tx=config_lib.call(
      optimizer_lib.adamw, optimizer, "config.optimizer", schedule=rate, **still
    ),
    schedule=rate,
    mesh=mesh,
    sharding=sharding,
    health=config_lib.call(health_lib.Health, health or {}, "config.health"),
    num_examples=len(source),
    example_batch=inputs.batch_shapes(
      transform, source, batch_size, options["buckets"]
    ),
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
    evaluation=inputs.evaluation_from(
      row,
      evaluation,
      data,
      shared,
      mesh.size,
      # Class numbers are learned from these records.
      learned_from=source if learned.predict is not None else None,
    ),
  )


def _objective(spec, network, compute_dtype):
  spec = {k: v for k, v in spec.items() if v is not None}
  where = "config.objective"
  for part, constructor in PARTS.get(spec.get("name"), {}).items():
    if part in spec:
      given = {"compute_dtype": compute_dtype, "grid": network.grid}
      spec[part] = config_lib.call(
        constructor,
        spec[part],
        f"{where}.{part}",
        **inputs.accepted(constructor, given),
      )
  return config_lib.build(spec, OBJECTIVES, where, encoder=network)


def _check_outputs(objective, data, source):
  """A supervised head must have as many outputs as there are labels."""
  outputs = objective.get("head", {}).get("num_outputs")
  labels = inputs.optional(dict(data), "labels", LABELS, "config.data")
  wanted = getattr(labels, "num_outputs", None)
  if objective.get("name") == "classification":
    wanted = len(getattr(source, "class_names", ())) or outputs
  if wanted is not None and outputs != wanted:
    raise ConfigError(
      f"config.objective.head.num_outputs: got {outputs}, but the labels have "
      f"{wanted} different values; set it to {wanted}."
    )
