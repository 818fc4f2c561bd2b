"""A run, built from its config: the one place that knows all the parts."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import jax
from absl import logging
from etils import epath

from d2v_jax import config as config_lib
from d2v_jax import run_shares
from d2v_jax.config import ConfigError, Spec
from d2v_jax.data import pipeline
from d2v_jax.modalities import MODALITIES
from d2v_jax.objectives import OBJECTIVES
from d2v_jax.training import batch_shapes, held_out, outputs, schedules
from d2v_jax.training import evaluation as evaluation_lib
from d2v_jax.training import optimizer as optimizer_lib
from d2v_jax.training import sharding as sharding_lib
from d2v_jax.training.checkpoints.checkpoint import Checkpoints, check_counts
from d2v_jax.training.experiment import Experiment, RunPlan, Settings
from d2v_jax.training.inherited import inherit
from d2v_jax.training.logs.loggers import LoggerName
from d2v_jax.training.logs.profile import Profile
from d2v_jax.training.trouble import health as health_lib

# Grain's seeds are of 32 bits, and every draw of a run begins with its seed.
_SEEDS = 2**32


def from_config(
  config: Any,
  workdir: epath.PathLike | None = None,
  given: Mapping[str, Any] | None = None,
) -> Experiment:
  """Builds a run from a config, and opens its data.

  Args:
    config: what it leaves out is as in the run of `init_from`, where one is
      given.
    workdir: where the run lives, if that is known.
    given: split -> data that stand in no file.

  Raises:
    ConfigError: names the field, what was got and what is allowed.
  """
  return open_data(plan(config, workdir, given=given))


def plan(
  config: Any,
  workdir: epath.PathLike | None = None,
  devices: Sequence[jax.Device] | None = None,
  given: Mapping[str, Any] | None = None,
) -> RunPlan:
  """What `from_config` builds before it opens the data; see there.

  Args:
    config: see `from_config`.
    workdir: see `from_config`.
    devices: to run on, which need not exist, in place of those that JAX sees
      and of config.num_devices.
    given: see `from_config`.

  Raises:
    ConfigError: names the field, what was got and what is allowed.
  """
  spec = inherit(config, workdir)
  lengths = run_shares.resolved(spec)
  for line in run_shares.longer_than_run(lengths):
    logging.warning("%s", line)
  return config_lib.call(
    _plan,
    lengths,
    "config",
    config=spec,
    devices=devices,
    given=given,
  )


def open_data(plan: RunPlan) -> Experiment:
  """Opens what a run is trained and evaluated on.

  Raises:
    ConfigError: names the field, what was got and what is allowed.
  """
  dataset = plan.dataset
  records = dataset.records()
  examples = dataset.training(records)
  outputs.check(plan.config["objective"], dataset, examples.source)
  supervised = plan.objective.predict is not None
  settings = {
    f.name: getattr(plan, f.name) for f in dataclasses.fields(Settings)
  }
  settings["config"] = outputs.with_classes(plan.config, examples.source)
  # Class numbers are learned from these records.
  evaluation = plan.evaluation.open(
    learned_from=examples.source if supervised else None
  )
  return Experiment(
    **settings,
    evaluation=evaluation,
    held_out=held_out.of(plan, evaluation.records.get("test")),
    records=records if dataset.by_record else examples.source,
    num_examples=len(examples.source),
    identity={
      **getattr(records, "identity", {}),
      **getattr(examples.source, "identity", {}),
    },
    example_batch=batch_shapes.longest(examples, dataset, plan.batch_size),
    batch_kinds=batch_shapes.of_each_length(examples, dataset, plan.batch_size),
    batches=functools.partial(
      pipeline.train_batches,
      *examples,
      seed=plan.seed,
      batch_size=plan.batch_size,
      process_index=jax.process_index(),
      process_count=jax.process_count(),
      num_threads=dataset.num_threads,
      num_workers=dataset.num_workers,
      max_corrupt=dataset.max_corrupt,
      buckets=dataset.buckets,
    ),
  )


def _plan(
  *,
  config: Spec,
  devices: Sequence[jax.Device] | None,
  given: Mapping[str, Any] | None,
  seed: int,
  total_steps: int,
  batch_size: int,
  log_every: int,
  checkpoint_every: int,
  modality: Literal["vision", "speech", "spectrogram", "signal", "text"],
  data: Spec,
  encoder: Spec,
  objective: Spec,
  schedule: Spec,
  optimizer: Spec,
  evaluation: Spec,
  accumulate: int = 1,
  checkpoints: Spec | None = None,
  health: health_lib.Health | None = None,
  profile: Profile | None = None,
  logger: LoggerName = "tensorboard",
  report: Literal["none", "curves", "whole"] = "curves",
  sharding: Literal["replicated", "fsdp"] = "replicated",
  num_devices: int | None = None,
  compute_dtype: Literal[
    "float32", "bfloat16", "float16", "float64"
  ] = "float32",
  init_from: str = "",
  init_model: Literal["student", "teacher"] = "student",
) -> RunPlan:
  _check_counts(
    total_steps=total_steps,
    batch_size=batch_size,
    log_every=log_every,
    checkpoint_every=checkpoint_every,
    accumulate=accumulate,
  )
  if not 0 <= seed < _SEEDS:
    raise ConfigError(f"config.seed must be 0 to {_SEEDS - 1}, got {seed}.")
  if profile is not None and profile.last > total_steps:
    raise ConfigError(
      f"config.profile: got steps {profile.start} to {profile.last}, but the "
      f"last one is config.total_steps={total_steps}; choose an earlier start "
      "or fewer steps."
    )
  mesh = _mesh(None if devices else num_devices, sharding, devices)
  _check_batch_size(batch_size, accumulate, mesh)
  row = MODALITIES[modality]
  network = config_lib.build(
    encoder, row.encoders, "config.encoder", compute_dtype=compute_dtype
  )
  dataset = config_lib.call(
    row.data,
    data,
    "config.data",
    run={"inputs": network.inputs, "given": given},
  )
  dataset.check()
  learned = config_lib.build(
    objective,
    OBJECTIVES,
    "config.objective",
    run={"compute_dtype": compute_dtype, "grid": network.grid},
    encoder=network,
  )
  rate = config_lib.build(
    schedule,
    schedules.SCHEDULES,
    "config.schedule",
    total_steps=total_steps,
  )
  # Weight decay must not move what an objective keeps frozen.
  still: dict[str, Any] = (
    {"freeze_steps": total_steps} if learned.frozen else {}
  )
  return RunPlan(
    config=config,
    seed=seed,
    total_steps=total_steps,
    batch_size=batch_size,
    accumulate=accumulate,
    log_every=log_every,
    checkpoint_every=checkpoint_every,
    checkpoints=_checkpoints(checkpoints or {}),
    init_from=init_from,
    init_model=init_model,
    objective=learned,
    tx=config_lib.call(
      optimizer_lib.adamw,
      optimizer,
      "config.optimizer",
      schedule=rate,
      sub_trees=network.sub_trees,
      **still,
    ),
    schedule=rate,
    mesh=mesh,
    health=health or health_lib.Health(),
    profile=profile,
    logger=logger,
    report=report,
    dataset=dataset,
    evaluation=evaluation_lib.plan(evaluation, dataset, mesh, network.grid),
  )


def _checkpoints(spec: Spec) -> Callable[[epath.Path], Checkpoints]:
  """Checks the fields now; the folder is made when the run begins."""
  fields = config_lib.arguments(
    Checkpoints, spec, "config.checkpoints", directory=None
  )
  del fields["directory"]
  with config_lib.errors_at("config.checkpoints"):
    check_counts(**fields)
  return lambda directory: Checkpoints(directory, **fields)


def _check_counts(**counts: int) -> None:
  for name, value in counts.items():
    if value < 1:
      raise ConfigError(f"config.{name} must be 1 or more, got {value}.")


def _mesh(
  num_devices: int | None, rule: str, devices: Sequence[jax.Device] | None
) -> jax.sharding.Mesh:
  with config_lib.errors_at("config.num_devices"):
    mesh = sharding_lib.make_mesh(num_devices, rule, devices)
  if num_devices and mesh.size < len(jax.devices()) and jax.process_count() > 1:
    raise ConfigError(
      f"config.num_devices: several processes use all {len(jax.devices())} "
      f"devices, got {num_devices}; leave it out."
    )
  return mesh


def _check_batch_size(
  batch_size: int, accumulate: int, mesh: jax.sharding.Mesh
) -> None:
  if batch_size % (accumulate * mesh.size):
    raise ConfigError(
      f"config.batch_size {batch_size} is not a multiple of accumulate "
      f"{accumulate} x {mesh.size} devices; change one of them."
    )
