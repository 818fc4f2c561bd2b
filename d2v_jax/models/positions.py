"""Positions of patches: relative biases and fixed sine-cosine vectors."""

import flax.linen as nn
import jax
import numpy as np


def relative_position_index(grid: tuple[int, int]) -> np.ndarray:
  """Row of the relative position table for each pair of tokens, CLS first.

  Patches i, j at (r, c): (r_i - r_j + H - 1) * (2W - 1) + (c_i - c_j + W - 1).
  The last three rows of the table are CLS -> patch, patch -> CLS, CLS -> CLS.

  Args:
    grid: (H, W) in patches.

  Returns:
    [1 + H * W, 1 + H * W] int32.
  """
  height, width = grid
  row, column = np.divmod(np.arange(height * width), width)
  size = (2 * height - 1) * (2 * width - 1) + 3
  index = np.empty((1 + height * width,) * 2, np.int32)
  index[1:, 1:] = (
    (row[:, None] - row[None] + height - 1) * (2 * width - 1)
    + column[:, None]
    - column[None]
    + width
    - 1
  )
  index[0, :] = size - 3
  index[:, 0] = size - 2
  index[0, 0] = size - 1
  return index


def sincos_positions(grid: tuple[int, int], width: int) -> np.ndarray:
  """Fixed 2-D sine-cosine positions; the first half encodes the column.

  Args:
    grid: (H, W) in patches.
    width: D, a multiple of 4.

  Returns:
    [H * W, D] float32.

  Source: MAE and data2vec 2.0's released code (both use this order).
  """
  if width % 4:
    raise ValueError(
      f"sincos positions need a width that is a multiple of 4, got {width}."
    )
  frequency = 10000.0 ** (-np.arange(width // 4) / (width // 4))
  row, column = np.divmod(np.arange(grid[0] * grid[1]), grid[1])
  angles = [position[:, None] * frequency for position in (column, row)]
  parts = [part for a in angles for part in (np.sin(a), np.cos(a))]
  return np.concatenate(parts, axis=1).astype(np.float32)


class RelativePositionBias(nn.Module):
  """One table of logit biases, shared by all layers; zero at the start."""

  grid: tuple[int, int]
  num_heads: int
  cls_token: bool

  @nn.compact
  def __call__(self) -> jax.Array:
    """Returns the bias [heads, N, N], with CLS first if there is one."""
    height, width = self.grid
    size = (2 * height - 1) * (2 * width - 1) + 3
    shape = (size, self.num_heads)
    table = self.param("table", nn.initializers.zeros, shape)
    index = relative_position_index(self.grid)
    if not self.cls_token:
      index = index[1:, 1:]
    return table[index].transpose(2, 0, 1)
