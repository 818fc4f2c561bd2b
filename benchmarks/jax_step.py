"""The library's training step, on a batch that stays on the device."""

import functools
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from d2v_jax import config as config_lib
from d2v_jax.config import Spec
from d2v_jax.modalities import MODALITIES
from d2v_jax.objectives import OBJECTIVES
from d2v_jax.training import operations, optimizer, schedules
from d2v_jax.training import state as train_state
from d2v_jax.training.step import train_step


def count_operations(config: Spec, batch: dict[str, np.ndarray]) -> float:
  """Operations of the matrix products and convolutions of an update.

  Args:
    config: from `workloads.make_config`.
    batch: from `workloads.make_batch`; only shapes and dtypes matter.
  """
  create, step = _functions(config, _parts(config))
  state = jax.eval_shape(create, jax.random.key(0), batch)
  return operations.count(step, state, batch)


class Step:
  """One update through the functions of a run, compiled, and its state.

  Args:
    config: from `workloads.make_config`.
    batch: from `workloads.make_batch`.

  Attributes:
    compile_seconds: by the clock.
    peak_bytes: of the device's memory, as the compiler has planned it.
    state: as of the last update.
  """

  def __init__(self, config: Spec, batch: dict[str, np.ndarray]):
    self._parts = _parts(config)
    self._batch = jax.device_put(batch)
    create, step = _functions(config, self._parts)
    key = jax.random.key(0)
    shapes = jax.eval_shape(create, key, self._batch)
    start = time.perf_counter()
    step = jax.jit(step, donate_argnums=0)
    self._step = step.lower(shapes, self._batch).compile()
    self.compile_seconds = time.perf_counter() - start
    memory = self._step.memory_analysis()
    self.peak_bytes = (
      memory.argument_size_in_bytes
      + memory.output_size_in_bytes
      + memory.temp_size_in_bytes
      - memory.alias_size_in_bytes
    )
    self.state = jax.jit(create)(key, self._batch)

  def load(self, params: dict[str, Any]) -> None:
    """Starts from given student parameters; the teacher is their copy."""
    params = jax.tree.map(jnp.array, params)
    self.state = train_state.from_params(
      jax.random.key(0), params, **self._parts
    )

  def __call__(self) -> tuple[jax.Array, jax.Array]:
    """Starts one update; returns the loss and the gradient's norm."""
    self.state, metrics = self._step(self.state, self._batch)
    return metrics["loss"], metrics["grad_norm"]

  def wait(self) -> None:
    """Returns when all updates are done."""
    jax.block_until_ready(self.state)


def _functions(config, parts):
  """(key, batch) -> the first state, (state, batch) -> the next one."""
  create = functools.partial(train_state.create, **parts)
  schedule = schedules.constant(**config["schedule"])
  return create, functools.partial(train_step, schedule=schedule, **parts)


def _parts(config):
  """Objective and optimizer."""
  schedule = schedules.constant(**config["schedule"])
  return {
    "objective": _objective(config),
    "tx": optimizer.adamw(schedule, **config["optimizer"]),
  }


def _objective(config):
  dtype = config["compute_dtype"]
  encoder = config_lib.build(
    config["encoder"],
    MODALITIES[config["modality"]].encoders,
    "config.encoder",
    compute_dtype=dtype,
  )
  return config_lib.build(
    config["objective"],
    OBJECTIVES,
    "config.objective",
    run={"compute_dtype": dtype, "grid": encoder.grid},
    encoder=encoder,
  )
