"""Grouped convolutions over time or a grid, fast on every platform."""

import functools
import math

import jax
import jax.numpy as jnp

from d2v_jax.models.hardware import by_platform


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def grouped_conv(x: jax.Array, kernel: jax.Array, groups: int) -> jax.Array:
  """Convolution with groups of channels, output as large as the input.

  An even kernel looks one position further back than ahead, as PyTorch's
  padding of k // 2 does after the surplus last output is cut.

  Args:
    x: [B, N, C], or [B, H, W, C].
    kernel: [k, C / groups, D], or [k, k, C / groups, D], of x's dtype.
    groups: number of groups; divides C and D.

  Returns:
    [B, N, D], or [B, H, W, D].

  XLA's own grouped convolution has a slow backward pass on CPUs; there it is a
  product of gathered windows instead. benchmarks/grouped_conv.py measures both.
  """
  windows = functools.partial(windows_conv, groups=groups)
  conv = functools.partial(lax_conv, groups=groups)
  return _chosen(windows, conv, x, kernel)


def _chosen(windows, conv, *args):
  others = dict.fromkeys(by_platform.PLATFORMS, lambda _: conv)
  return by_platform.call(windows, others, *args)


def _forward(x, kernel, groups):
  return grouped_conv(x, kernel, groups), (x, kernel)


def _backward(groups, kept, dy):
  def gradients(conv, x, kernel, dy):
    return jax.vjp(lambda *args: conv(*args, groups), x, kernel)[1](dy)

  windows = functools.partial(gradients, windows_conv)
  conv = functools.partial(gradients, lax_conv)
  return _chosen(windows, conv, *kept, dy)


grouped_conv.defvjp(_forward, _backward)


def lax_conv(x: jax.Array, kernel: jax.Array, groups: int) -> jax.Array:
  """`grouped_conv` by XLA's convolution."""
  space = "HW"[: x.ndim - 2]
  return jax.lax.conv_general_dilated(
    x,
    kernel,
    window_strides=(1,) * len(space),
    padding=[_padding(size) for size in kernel.shape[:-2]],
    dimension_numbers=(f"N{space}C", f"{space}IO", f"N{space}C"),
    feature_group_count=groups,
  )


def windows_conv(x: jax.Array, kernel: jax.Array, groups: int) -> jax.Array:
  """`grouped_conv` as one batched product per group of gathered windows."""
  *sizes, channels, width = kernel.shape
  batch, *space, _ = x.shape
  positions = math.prod(space)
  padding = [(0, 0), *map(_padding, sizes), (0, 0)]
  padded = jnp.pad(x, padding)
  x = padded.reshape(*padded.shape[:-1], groups, channels)
  for axis, size in enumerate(sizes):
    # Each axis [n + k - 1] becomes two, [n, k].
    index = jnp.arange(space[axis])[:, None] + jnp.arange(size)
    x = jnp.take(x, index, axis=1 + 2 * axis)
  # [B, H, k, W, k, groups, C / groups], or without W and one k.
  dims = 2 * len(sizes)
  spaces, taps = range(1, dims, 2), range(2, dims + 1, 2)
  # [groups, B, H, W, k, k, C / groups]
  x = x.transpose(dims + 1, 0, *spaces, *taps, dims + 2)
  inputs = math.prod(sizes) * channels  # of each output
  x = x.reshape(groups, batch * positions, inputs)
  kernel = kernel.reshape(inputs, groups, width // groups)
  y = jnp.matmul(x, kernel.transpose(1, 0, 2))  # [groups, B * N, D / groups]
  y = y.reshape(groups, batch, positions, width // groups)
  return y.transpose(1, 2, 0, 3).reshape(batch, *space, width)


def _padding(size):
  return size // 2, size - 1 - size // 2
