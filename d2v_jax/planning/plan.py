"""The step of a run, compiled for devices that need not be there."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from d2v_jax.objectives.supervised import Regression
from d2v_jax.planning import costs as costs_lib
from d2v_jax.planning import program as program_lib
from d2v_jax.planning.devices import Target
from d2v_jax.planning.estimate import Estimate, estimate
from d2v_jax.training import batch_shapes, build
from d2v_jax.training.compiled_step import CompiledStep
from d2v_jax.training.experiment import RunPlan

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
  """One compiled step; all numbers are of one device, unless they say it.

  Attributes:
    target: the devices.
    run: what is trained.
    length: of the batch, in samples or tokens; None for images.
    per_device: examples of an update on each device.
    fits: whether memory is enough.
    parts: name -> bytes of what lies in memory during a step.
    memory_bytes: of all, as the compiler lays it out.
    argument_bytes: of them, the state and the batch.
    batch_bytes: of one example.
    checkpoint_bytes: of the whole state, that of all devices.
    flops: matrix products and convolutions of a step without recomputation; a
      multiply-add is two. None, as what follows, where nothing was compiled
      because it does not fit.
    recomputed_flops: those that remat, and kernels of attention, add.
    kernel_flops: a part of `flops` that is a formula, not the compiler's.
    traffic_bytes: to and from the device's large memory.
    collectives: kind -> bytes of their results.
    time: None also where the device's limits are not known.
  """

  target: Target
  run: RunPlan
  length: int | None
  per_device: int
  fits: bool
  parts: Mapping[str, float]
  memory_bytes: float
  argument_bytes: float
  batch_bytes: float
  checkpoint_bytes: float
  flops: float | None = None
  recomputed_flops: float | None = None
  kernel_flops: float | None = None
  traffic_bytes: float | None = None
  collectives: Mapping[str, float] | None = None
  time: Estimate | None = None

  @property
  def collective_bytes(self) -> float | None:
    """Of all kinds."""
    return None if self.collectives is None else sum(self.collectives.values())

  @property
  def peak_fraction(self) -> float | None:
    """Time that the products would take at the peak, over that of the step."""
    if self.time is None or self.flops is None:
      return None
    assert self.target.peaks is not None
    return self.flops / self.target.peaks.flops / self.time.seconds

  @property
  def examples_per_second(self) -> float | None:
    """On all devices together."""
    return (
      None if self.time is None else self.run.batch_size / self.time.seconds
    )


def run_plan(config: Any, target: Target, per_device: int | None) -> RunPlan:
  """A run on devices, from its config alone.

  Args:
    config: of a run that trains.
    target: the devices.
    per_device: examples of an update on each; None: as many as the config's
      batch_size gives each.

  Raises:
    ConfigError: names the field, what was got and what is allowed.
  """
  config = config.copy_and_resolve_references()
  if per_device is not None:
    config.batch_size = per_device * len(target.devices)
  return build.plan(config, devices=target.devices)


def lengths(run: RunPlan) -> tuple[int | None, ...]:
  """Lengths of batches, each of which is a program of its own."""
  buckets = run.dataset.buckets
  return buckets.lengths if buckets is not None else (None,)


def compiled(run: RunPlan, target: Target, length: int | None = None) -> Row:
  """Compiles the step of a run and reads the program.

  Args:
    run: from `run_plan`.
    target: the devices of its mesh.
    length: one of `lengths`.

  Raises:
    ValueError: config and data do not fit together, or the compiler fails.
  """
  example = run.dataset.blank(length)
  if isinstance(run.objective, Regression):
    example = {**example, "label": 0.0}
  batch = batch_shapes.of_example(example, run.dataset, run.batch_size)
  made = CompiledStep(run, batch)
  state = made.abstract_state
  parts = {
    "parameters": _device_bytes(state.params),
    "teacher": _device_bytes(state.teacher_params),
    "optimizer": _device_bytes(state.opt_state),
    "batch": _num_bytes(batch) / run.mesh.size,
  }
  row = Row(
    target=target,
    run=run,
    length=length,
    per_device=run.batch_size // run.mesh.size,
    fits=False,
    parts=parts,
    memory_bytes=0,
    argument_bytes=sum(parts.values()),
    batch_bytes=_num_bytes(batch) / run.batch_size,
    checkpoint_bytes=_num_bytes(
      (state.params, state.teacher_params, state.opt_state)
    ),
  )
  try:
    done = made.step.lower(state, batch).compile()
  except jax.errors.JaxRuntimeError as e:
    return _too_large(row, str(e))
  return _read(row, done)


def _read(row: Row, done: Any) -> Row:
  memory = done.memory_analysis()
  total = (
    memory.argument_size_in_bytes
    + memory.temp_size_in_bytes
    + memory.output_size_in_bytes
    - memory.alias_size_in_bytes
    + memory.generated_code_size_in_bytes
  )
  limit = row.target.memory
  found = costs_lib.costs(program_lib.parse(done.as_text()))

  def sum_of(values: Any) -> float:
    return sum(cost.times * value for cost, value in values)

  again = sum_of((c, c.repeated) for c in found)
  return dataclasses.replace(
    row,
    fits=limit is None or total <= limit,
    memory_bytes=total,
    argument_bytes=memory.argument_size_in_bytes,
    parts=_with_rest(row.parts, memory.temp_size_in_bytes, total),
    flops=sum_of((c, c.operations) for c in found) - again,
    recomputed_flops=again,
    kernel_flops=sum_of((c, c.operations) for c in found if c.kernel),
    traffic_bytes=sum_of((c, c.moved) for c in found),
    collectives=costs_lib.collective_bytes(found),
    time=estimate(found, row.target),
  )


def _with_rest(
  parts: Mapping[str, float], temporary: float, total: float
) -> dict[str, float]:
  """What is no state is activations, and the rest program and padding."""
  named = {**parts, "activations": temporary}
  return {**named, "rest": total - sum(named.values())}


def _too_large(row: Row, message: str) -> Row:
  """What a TPU's compiler says that it would have needed.

  Raises:
    ValueError: it says something else.
  """
  bytes_of = r"([\d.]+)([KMGT]?)B?"
  temporary = re.search(rf"temporaries \({bytes_of}\)", message)
  total = re.search(rf"Used {bytes_of} of [\d.]+[KMGT]?B? hbm", message)
  if temporary:
    needed = float(temporary[1]) * _UNITS[temporary[2]]
    memory = needed + row.argument_bytes
  elif total:
    memory = float(total[1]) * _UNITS[total[2]]
    needed = memory - row.argument_bytes
  else:
    first = message.strip().splitlines()[0]
    raise ValueError(f"{row.target.name}: the compiler failed: {first}")
  parts = _with_rest(row.parts, needed, memory)
  return dataclasses.replace(row, memory_bytes=memory, parts=parts)


def _num_bytes(tree: Any) -> float:
  """Of all of it."""
  return sum(
    int(np.prod(x.shape)) * x.dtype.itemsize for x in jax.tree.leaves(tree)
  )


def _device_bytes(tree: Any) -> float:
  """Of what one device has of it."""
  return sum(
    int(np.prod(x.sharding.shard_shape(x.shape))) * x.dtype.itemsize
    for x in jax.tree.leaves(tree)
  )
