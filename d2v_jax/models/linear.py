"""Linear maps, whose products and gradients live where they should."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from d2v_jax.models.hardware import by_platform, placement
from d2v_jax.models.initializers import Initializer
from d2v_jax.models.saved import saved


@jax.custom_vjp
def product(x: jax.Array, kernel: jax.Array) -> jax.Array:
  """x [B, ..., C] times a stored kernel [C, D], in the dtype of x.

  The kernel is gathered in that dtype, and its gradient is summed in its own:
  over examples and devices in float32 where the product is in bfloat16. Each
  device computes the outputs of its own examples.

  Args:
    x: [B, ..., C].
    kernel: [C, D], perhaps in a wider dtype.

  Returns:
    [B, ..., D].
  """
  return _product(x, kernel)


def _product(x, kernel):
  x = placement.by_example(x)
  return placement.by_example(jnp.matmul(x, _cast(kernel, x)))


def _cast(kernel, x):
  return placement.whole(kernel.astype(x.dtype))


def _forward(x, kernel):
  return _product(x, kernel), (x, kernel)


def _backward(residuals, dy):
  x, kernel = residuals
  dy = placement.by_example(dy)
  # [B, ..., D] x [C, D] -> [B, ..., C]
  dx = jnp.matmul(dy, _cast(kernel, x).T)
  dtype = jnp.promote_types(x.dtype, kernel.dtype)
  over_axes = functools.partial(_sum_over_tokens, dtype=dtype)
  # Over more than one axis CPUs transpose a copy of x first; TPUs would need
  # copies to make them one.
  others = dict.fromkeys(by_platform.PLATFORMS, lambda _: over_axes)
  dkernel = by_platform.call(
    lambda *both: over_axes(*map(_tokens_as_one_axis, both)), others, x, dy
  )
  dkernel = placement.as_parameter(dkernel.astype(kernel.dtype))
  return placement.by_example(dx), dkernel


product.defvjp(_forward, _backward)


def _sum_over_tokens(x, dy, dtype):
  """[B, ..., C] x [B, ..., D] -> [C, D], summed in a dtype."""
  tokens = tuple(range(x.ndim - 1))
  return jax.lax.dot_general(
    x, dy, ((tokens, tokens), ((), ())), preferred_element_type=dtype
  )


def _tokens_as_one_axis(x):
  """[B, ..., C] -> [B * ..., C]."""
  return x.reshape(-1, x.shape[-1])


class Linear(nn.Module):
  """x W + b on the last axis, in `compute_dtype`."""

  width: int
  kernel_init: Initializer
  use_bias: bool = True
  bias_init: Initializer = nn.initializers.zeros
  compute_dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps [B, ..., C] to [B, ..., width]."""
    kernel = self.param(
      "kernel", self.kernel_init, (x.shape[-1], self.width), jnp.float32
    )
    y = product(x.astype(self.compute_dtype), kernel)
    if self.use_bias:
      bias = self.param("bias", self.bias_init, (self.width,), jnp.float32)
      y += bias.astype(y.dtype)
    return saved(y)
