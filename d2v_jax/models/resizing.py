"""Learned positions of one grid of patches, for another: other image sizes."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from d2v_jax.models.positions import CLS_ENTRIES

Params = dict[str, Any]


def fit(params: Params, grid: tuple[int, int], prefix: int) -> Params:
  """Fits the learned positions of an encoder to a grid, those that are there.

  Args:
    params: some of an encoder's top-level sub-trees.
    grid: (H, W) in patches.
    prefix: 1 if there is a CLS token, else 0.

  Returns:
    The sub-trees; everything that fits already is the same array.

  Raises:
    ValueError: for a table that is not that of a square grid.
  """
  params = dict(params)
  name = "position_embedding"
  if name in params:
    params[name] = fit_embedding(params[name], grid, prefix)
  name = "relative_position_bias"
  if name in params:
    params[name] = {"table": fit_relative(params[name]["table"], grid)}
  blocks = params.get("blocks", {})
  if name in blocks:
    table = fit_relative(blocks[name]["table"], grid)
    params["blocks"] = {**blocks, name: {"table": table}}
  return params


def fit_embedding(
  table: jax.Array, grid: tuple[int, int], prefix: int
) -> jax.Array:
  """Learned positions of a square grid of patches, for another grid.

  Args:
    table: [1, prefix + S * S, D] for S x S patches.
    grid: (H, W) in patches.
    prefix: entries in front, of the CLS token, which stay.

  Returns:
    [1, prefix + H * W, D]; `table` itself if S x S is H x W.

  Raises:
    ValueError: if the table is not that of a square grid.

  Source: DeiT: bicubic without antialiasing, as PyTorch's interpolate with
  align_corners=False.
  """
  side = _side(table.shape[1] - prefix)
  if not side:
    raise ValueError(
      f"position_embedding {table.shape}: after {prefix} for the CLS token its "
      "entries must be those of a square grid, to be fitted to the grid "
      f"{tuple(grid)}; check encoder.cls_token and where it comes from."
    )
  if (side, side) == tuple(grid):
    return table
  maps = [_bicubic(side, size) for size in grid]
  patches = _separable(table[:, prefix:], side, maps)
  return jnp.concatenate([table[:, :prefix], patches], axis=1)


def fit_relative(table: jax.Array, grid: tuple[int, int]) -> jax.Array:
  """Relative position table of a square grid of patches, for another grid.

  Args:
    table: [..., (2 S - 1)**2 + 3, heads] for S x S patches.
    grid: (H, W) in patches.

  Returns:
    [..., (2 H - 1) * (2 W - 1) + 3, heads]; `table` itself if S x S is H x W.

  Raises:
    ValueError: if the table is not that of a square grid.

  Source: BEiT's fine-tuning: the distances of the table are taken to grow as a
  geometric series, dense at the centre, up to the largest of the new grid;
  between them a cubic spline. (Below three patches: of a lower degree.)
  """
  entries = table.shape[-2] - CLS_ENTRIES
  side = _side(entries)
  if side % 2 == 0:
    raise ValueError(
      f"relative position table {table.shape}: its rows must be (2 S - 1)**2 + "
      f"{CLS_ENTRIES} for a square grid of S x S patches, to be fitted to the "
      f"grid {tuple(grid)}; check where it comes from."
    )
  sizes = [2 * size - 1 for size in grid]
  if [side, side] == sizes:
    return table
  maps = [_geometric_spline(side, size) for size in sizes]
  patches = _separable(table[..., :entries, :], side, maps)
  return jnp.concatenate([patches, table[..., entries:, :]], axis=-2)


def _side(count):
  """Side of a square of so many; 0 if there is none."""
  side = math.isqrt(max(count, 0))
  return side if side * side == count else 0


def _separable(x, side, maps):
  """Applies maps [new, side] along both axes of x [..., side * side, D]."""
  x = jnp.asarray(x)
  grid = x.reshape(*x.shape[:-2], side, side, x.shape[-1])
  down, across = (m.astype(x.dtype) for m in maps)  # [H, S], [W, S]
  # Not in bfloat16, which accelerators would take.
  grid = jnp.einsum(
    "hr,wc,...rcd->...hwd", down, across, grid, precision="highest"
  )
  return grid.reshape(*x.shape[:-2], -1, x.shape[-1])


def _bicubic(source, size):
  """Map [size, source] of cubic convolution with a = -0.75."""
  a = -0.75
  centre = (np.arange(size) + 0.5) * source / size - 0.5
  below = np.floor(centre).astype(int)
  weights = np.zeros((size, source))
  for tap in range(-1, 3):
    d = np.abs(centre - below - tap)
    near = ((a + 2) * d - (a + 3)) * d**2 + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    column = np.clip(below + tap, 0, source - 1)
    np.add.at(weights, (range(size), column), np.where(d <= 1, near, far))
  return weights


def _geometric_spline(source, size):
  """Map [size, source] between distances -n .. n, of which there are 2 n + 1.

  The i-th distance of the source is taken to be 1 + q + ... + q**(i - 1), with
  q between 1.01 and 1.5 such that the last one is the last of the result.
  """
  from scipy.interpolate import make_interp_spline  # slow to import

  low, high = 1.01, 1.5
  while high - low > 1e-6:
    q = (low + high) / 2
    last = (1 - q ** (source // 2)) / (1 - q)
    low, high = (low, q) if last > size // 2 else (q, high)
  distances = np.cumsum(q ** np.arange(source // 2))
  knots = np.concatenate([-distances[::-1], [0.0], distances])
  # Rounding, or too few distances: beyond the last one its value holds.
  points = np.arange(-(size // 2), size // 2 + 1)
  points = np.clip(points, knots[0], knots[-1])
  spline = make_interp_spline(knots, np.eye(source), k=min(3, source - 1))
  return spline(points)
