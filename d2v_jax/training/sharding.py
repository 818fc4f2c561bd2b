"""Where arrays live: a mesh of devices, batches split over it, state by rule.

What a network does with them is in models/hardware/placement.py.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any, ParamSpec, TypeVar

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from d2v_jax.models.hardware import placement

RULES = ("replicated", "fsdp")
_A = ParamSpec("_A")
_R = TypeVar("_R")


def make_mesh(
  num_devices: int | None = None,
  rule: str = "replicated",
  devices: Sequence[jax.Device] | None = None,
) -> Mesh:
  """Axes `data` and `fsdp` over the first num_devices (default all) devices.

  Args:
    num_devices: how many of them; None: all.
    rule: 'replicated', every device holds the whole state: all are on `data`;
      or 'fsdp', each holds a part: all are on `fsdp`.
    devices: default jax.devices().

  Raises:
    ValueError: if there are fewer devices; for another rule.
  """
  if rule not in RULES:
    raise ValueError(
      f"unknown sharding {rule!r}; choose one of: {', '.join(RULES)}."
    )
  devices = jax.devices() if devices is None else devices
  count = len(devices) if num_devices is None else num_devices
  if not 1 <= count <= len(devices):
    raise ValueError(
      f"make_mesh: asked for {count} devices, JAX sees {len(devices)}."
    )
  # The default axis type is Explicit, under which a plain Linen network does
  # not trace.
  return jax.make_mesh(
    (1, count) if rule == "fsdp" else (count, 1),
    (placement.DATA, placement.FSDP),
    axis_types=(AxisType.Auto,) * 2,
    devices=devices[:count],
  )


def batch_sharding(mesh: Mesh) -> NamedSharding:
  """Leading axis split over all devices."""
  return NamedSharding(mesh, placement.EXAMPLES)


def state_sharding(state: Any, mesh: Mesh, stacked: Collection[str]) -> Any:
  """Shardings of a state, given as arrays or shapes.

  Large arrays are split over the axis `fsdp` as `placement.parameter_spec` has
  it, but those of stacked layers never along the first axis, which the scan
  walks along.

  Args:
    state: pytree of arrays or ShapeDtypeStructs.
    mesh: from `make_mesh`.
    stacked: names of the sub-trees that are stacked over layers,
      `encoder.sub_trees.stacked`.

  Returns:
    The same tree of NamedShardings.
  """
  shards = mesh.shape[placement.FSDP]

  def spec(path, x):
    keys = {getattr(key, "key", None) for key in path}
    if keys.isdisjoint(stacked) or not x.ndim:
      return placement.parameter_spec(x.shape, shards)
    layer = placement.parameter_spec(x.shape[1:], shards)
    return P(None, *layer) if layer else layer

  return jax.tree_util.tree_map_with_path(
    lambda path, x: NamedSharding(mesh, spec(path, x)), state
  )


def under(mesh: Mesh, function: Callable[_A, _R]) -> Callable[_A, _R]:
  """The function, traced so that `placement` knows the mesh."""

  def placed(*args: _A.args, **kwargs: _A.kwargs) -> _R:
    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
      return function(*args, **kwargs)

  # The program is named after what it is made of.
  placed.__name__ = getattr(function, "func", function).__name__
  return placed


def to_devices(
  batch: dict[str, np.ndarray], sharding: NamedSharding
) -> dict[str, jax.Array]:
  """This host's rows [b, ...] -> global arrays [B, ...], b = B / hosts."""
  # The loop forbids accidental transfers; this one is meant.
  with jax.transfer_guard("allow"):
    return {
      key: jax.make_array_from_process_local_data(sharding, value)
      for key, value in batch.items()
    }


def replicated(mesh: Mesh) -> NamedSharding:
  """Every device holds the whole array."""
  return NamedSharding(mesh, P())
