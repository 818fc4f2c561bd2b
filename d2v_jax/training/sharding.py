"""Where arrays live: one mesh axis, batches split over it, state by rule."""

from collections.abc import Collection, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

RULES = ("replicated", "fsdp")

# Smaller arrays cost more to gather than they save.
_MIN_SHARDED_SIZE = 2**14


def make_mesh(
  num_devices: int | None = None,
  devices: Sequence[jax.Device] | None = None,
) -> Mesh:
  """One axis `data` over devices.

  Args:
    num_devices: how many of them, the first ones; None for all.
    devices: which; None for those that JAX sees.

  Raises:
    ValueError: if there are fewer devices.
  """
  devices = jax.devices() if devices is None else devices
  count = len(devices) if num_devices is None else num_devices
  if not 1 <= count <= len(devices):
    raise ValueError(
      f"make_mesh: asked for {count} devices, JAX sees {len(devices)}."
    )
  # The default axis type is Explicit, under which a plain Linen network does
  # not trace.
  return jax.make_mesh(
    (count,), ("data",), axis_types=(AxisType.Auto,), devices=devices[:count]
  )


def batch_sharding(mesh: Mesh) -> NamedSharding:
  """Leading axis split over all devices."""
  return NamedSharding(mesh, P("data"))


def state_sharding(
  state: Any, mesh: Mesh, rule: str, stacked: Collection[str]
) -> Any:
  """Shardings of a state, given as arrays or shapes.

  replicated: every device holds everything.
  fsdp: each large array is split along its largest axis that divides, but those
  of stacked layers never along the first, which the scan walks along.

  Args:
    state: pytree of arrays or ShapeDtypeStructs.
    mesh: from `make_mesh`.
    rule: 'replicated' or 'fsdp'.
    stacked: names of the sub-trees that are stacked over layers,
      `encoder.sub_trees.stacked`.

  Returns:
    The same tree of NamedShardings.

  Raises:
    ValueError: for another rule.
  """
  if rule not in RULES:
    raise ValueError(
      f"unknown sharding {rule!r}; choose one of: {', '.join(RULES)}."
    )

  def spec(path, x):
    if rule == "replicated" or x.size < _MIN_SHARDED_SIZE:
      return P()
    keys = {getattr(key, "key", None) for key in path}
    axes = range(0 if keys.isdisjoint(stacked) else 1, x.ndim)
    for axis in sorted(axes, key=lambda i: -x.shape[i]):
      if x.shape[axis] % mesh.size == 0:
        return P(*[None] * axis, "data")
    return P()

  return jax.tree_util.tree_map_with_path(
    lambda path, x: NamedSharding(mesh, spec(path, x)), state
  )


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
