"""Convolutions over time, grouped ones fast on every platform."""

import jax
import jax.numpy as jnp


def grouped_conv(x: jax.Array, kernel: jax.Array, groups: int) -> jax.Array:
  """Convolution over time with groups of channels, output as long as input.

  An even kernel looks one frame further back than ahead, as PyTorch's padding
  of k // 2 does after the surplus last frame is cut.

  Args:
    x: [B, N, C].
    kernel: [k, C / groups, D], of x's dtype.
    groups: number of groups; divides C and D.

  Returns:
    [B, N, D].

  XLA's own grouped convolution has a slow backward pass on CPUs; there it is a
  product of gathered windows instead. benchmarks/grouped_conv.py measures both.
  """
  if jax.default_backend() == "cpu":
    return windows_conv(x, kernel, groups)
  return lax_conv(x, kernel, groups)


def lax_conv(x: jax.Array, kernel: jax.Array, groups: int) -> jax.Array:
  """`grouped_conv` by XLA's convolution."""
  return jax.lax.conv_general_dilated(
    x,
    kernel,
    window_strides=(1,),
    padding=[_padding(kernel.shape[0])],
    dimension_numbers=("NTC", "TIO", "NTC"),
    feature_group_count=groups,
  )


def windows_conv(x: jax.Array, kernel: jax.Array, groups: int) -> jax.Array:
  """`grouped_conv` as one batched product per group of gathered windows."""
  size, channels, width = kernel.shape
  batch, length, _ = x.shape
  x = jnp.pad(x, ((0, 0), _padding(size), (0, 0)))
  x = x.reshape(batch, length + size - 1, groups, channels)
  frames = jnp.arange(length)[:, None] + jnp.arange(size)
  windows = x[:, frames].transpose(3, 0, 1, 2, 4)
  windows = windows.reshape(groups, batch * length, size * channels)
  kernel = kernel.reshape(size * channels, groups, width // groups)
  y = jnp.matmul(windows, kernel.transpose(1, 0, 2))
  y = y.reshape(groups, batch, length, width // groups)
  return y.transpose(1, 2, 0, 3).reshape(batch, length, width)


def _padding(size):
  return size // 2, size - 1 - size // 2
