"""Features of host memory on the devices of a run, a part at a time.

Every host has all rows; a device gets those that it works on.
"""

import functools
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from d2v_jax.models.hardware import placement


def one_device() -> Mesh:
  """The first device of this process: where no run says anything else."""
  return jax.make_mesh(
    (1, 1),
    (placement.DATA, placement.FSDP),
    axis_types=(AxisType.Auto,) * 2,
    devices=jax.local_devices()[:1],
  )


def everywhere(x: np.ndarray, mesh: Mesh) -> jax.Array:
  """x, all of it on every device."""
  return _made(x, x.shape, NamedSharding(mesh, P()))


def split(x: np.ndarray, mesh: Mesh, rows: int | None = None) -> jax.Array:
  """x [n, ...], its rows split over the devices.

  No copy of the whole is made on the host.

  Args:
    x: [n, ...].
    mesh: of the run.
    rows: a multiple of the devices, at least n; zeros fill it up. None: n.

  Returns:
    [rows, ...].
  """
  shape = (len(x) if rows is None else rows, *x.shape[1:])
  return _made(x, shape, NamedSharding(mesh, placement.EXAMPLES))


def fetched(tree: Any, mesh: Mesh) -> Any:
  """A tree of arrays [...] that lie on the devices, on every host."""
  return jax.tree.map(np.asarray, _gathered(tree, mesh=mesh))


@functools.partial(jax.jit, static_argnames="mesh")
def _gathered(tree: Any, *, mesh: Mesh) -> Any:
  return jax.lax.with_sharding_constraint(tree, NamedSharding(mesh, P()))


def _made(
  x: np.ndarray, shape: tuple[int, ...], sharding: NamedSharding
) -> jax.Array:
  def part(index: tuple[slice, ...] | None) -> np.ndarray:
    assert index is not None  # of arrays with an axis
    here = x[index]
    missing = len(range(*index[0].indices(shape[0]))) - len(here)
    if not missing:
      return here
    fill = np.zeros((missing, *x.shape[1:]), x.dtype)
    return np.concatenate([here, fill])

  return jax.make_array_from_callback(shape, sharding, part)
