"""Positions of patches, frames and tokens."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from d2v_jax.models import checks
from d2v_jax.models.convolution import grouped_conv
from d2v_jax.models.initializers import torch_uniform
from d2v_jax.models.layers import gelu
from d2v_jax.models.plain_norms import layer_norm
from d2v_jax.models.remat import inputs_kept

# Last entries of a relative position table, for pairs with the CLS token.
CLS_ENTRIES = 3


def relative_position_index(grid: tuple[int, int]) -> np.ndarray:
  """Entry of the relative position table for each pair of tokens, CLS first.

  Patches i, j at (r, c): (r_i - r_j + H - 1) * (2W - 1) + (c_i - c_j + W - 1).
  The last three entries are CLS -> patch, patch -> CLS, CLS -> CLS.

  Args:
    grid: (H, W) in patches.

  Returns:
    [1 + H * W, 1 + H * W] int32.
  """
  height, width = grid
  row, column = np.divmod(np.arange(height * width), width)
  size = (2 * height - 1) * (2 * width - 1) + CLS_ENTRIES
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
  check_sincos("sincos_positions", width)
  frequency = 10000.0 ** (-np.arange(width // 4) / (width // 4))
  row, column = np.divmod(np.arange(grid[0] * grid[1]), grid[1])
  # [H * W, D / 4] each, of columns and of rows
  angles = [position[:, None] * frequency for position in (column, row)]
  parts = [part for a in angles for part in (np.sin(a), np.cos(a))]
  return np.concatenate(parts, axis=1).astype(np.float32)


def sinusoidal_positions(length: int, width: int) -> np.ndarray:
  """Fixed 1-D sine-cosine positions, sines first.

  Args:
    length: number of positions, which are 0, 1, ...
    width: D, at least 4; an odd one ends with a zero.

  Returns:
    [length, D] float32.

  Source: fairseq, whose frequencies reach exactly 1 / 10000.
  """
  half = width // 2
  frequency = 10000.0 ** (-np.arange(half) / (half - 1))
  angles = np.arange(length)[:, None] * frequency
  parts = [np.sin(angles), np.cos(angles), np.zeros((length, width % 2))]
  return np.concatenate(parts, axis=1).astype(np.float32)


def alibi_slopes(num_heads: int) -> np.ndarray:
  """How fast the attention of each head falls with distance, [heads] float64.

  The geometric series 2**(-8 / H), 2**(-16 / H), ..., 2**-8 for H heads; where
  H is no power of two, that of the power below it, and then every second one
  of the power above it.

  Source: Press et al. 2022 (arXiv 2108.12409) and its released code.
  """
  power = 2 ** math.floor(math.log2(num_heads))
  slopes = 2.0 ** (-8.0 * np.arange(1, power + 1) / power)
  finer = 2.0 ** (-4.0 * np.arange(1, 2 * power + 1, 2) / power)
  return np.concatenate([slopes, finer[: num_heads - power]])


class RelativePositionBias(nn.Module):
  """One table of logit biases, of a layer or of all; zero at the start."""

  grid: tuple[int, int]
  num_heads: int
  cls_token: bool

  @nn.compact
  def __call__(self) -> jax.Array:
    """Returns the bias [heads, N, N], with CLS first if there is one."""
    height, width = self.grid
    size = (2 * height - 1) * (2 * width - 1) + CLS_ENTRIES
    shape = (size, self.num_heads)
    table = self.param("table", nn.initializers.zeros, shape)
    index = relative_position_index(self.grid)
    if not self.cls_token:
      index = index[1:, 1:]
    return table[index].transpose(2, 0, 1)  # [heads, N, N]


class ConvPositions(nn.Module):
  """Positions of frames, computed from the frames by grouped convolutions.

  `depth` times convolution, LayerNorm without parameters, GELU; or with
  `weight_norm` wav2vec 2.0's convolution and GELU, where kernel[t] is
  scale[t] * kernel[t] / ||kernel[t]|| for each tap t.

  Source: released speech code; the paper's appendix gives five layers of kernel
  19 and 16 groups.
  """

  depth: int
  kernel: int
  groups: int
  weight_norm: bool
  compute_dtype: DTypeLike

  @nn.compact
  def __call__(self, x: jax.Array, padding: jax.Array | None) -> jax.Array:
    """Computes positions.

    Args:
      x: [B, N, D].
      padding: [B, N] bool, True for frames that stay 0 before each
        convolution, or None.

    Returns:
      [B, N, D] in the dtype of x.
    """
    dtype, width = x.dtype, x.shape[-1]
    for i in range(self.depth):
      if padding is not None and i:
        x = jnp.where(padding[..., None], 0.0, x)
      kernel, bias = self._weights(i, width)
      x, kernel = (a.astype(self.compute_dtype) for a in (x, kernel))
      x = grouped_conv(x, kernel, self.groups)  # [B, N, D]
      x = inputs_kept(self._activated, self.compute_dtype)(x, bias)
    return x.astype(dtype)

  def _activated(self, x, bias):
    """Bias, norm and GELU of x [B, N, D]."""
    y = x.astype(bias.dtype) + bias
    if not self.weight_norm:
      y = layer_norm(y)
    return gelu(y.astype(x.dtype))

  def _weights(self, i, width):
    """Kernel [k, D / groups, D] and bias [D] of convolution i."""
    shape = (self.kernel, width // self.groups, width)
    zeros = nn.initializers.zeros
    if not self.weight_norm:
      init = torch_uniform(shape[0] * shape[1])
      kernel = self.param(f"kernel{i}", init, shape)
      return kernel, self.param(f"bias{i}", init, (width,))
    std = (4.0 / (self.kernel * width)) ** 0.5
    kernel = self.param(f"kernel{i}", nn.initializers.normal(std), shape)
    norm = jnp.sqrt(jnp.square(kernel).sum((1, 2)))  # [k]
    scale = self.param(f"scale{i}", lambda key: norm)
    kernel *= (scale / norm)[:, None, None]
    return kernel, self.param(f"bias{i}", zeros, (width,))


def check_sincos(where: str, width: int) -> None:
  """Checks that 2-D sine-cosine positions have this width.

  Raises:
    ValueError: names the function `where` and the width.
  """
  if width % 4:
    raise ValueError(
      f"{where}: sincos positions need a width that is a multiple of 4, got "
      f"{width}."
    )


def check_convolutions(
  where: str,
  *,
  width: int,
  position_depth: int,
  position_width: int,
  position_groups: int,
) -> None:
  """Checks the arguments of positions that convolutions compute.

  Args:
    where: the constructor, for errors.
    width: D.
    position_depth: number of convolutions.
    position_width: frames that they see together.
    position_groups: groups of channels; must divide the width.

  Raises:
    ValueError: names the constructor, the argument and its value.
  """
  checks.at_least(
    where, 1, position_depth=position_depth, position_width=position_width
  )
  checks.multiple(where, ("width", width), position_groups=position_groups)
