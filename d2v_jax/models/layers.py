"""Layer norm and dropout, as all networks use them."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from d2v_jax.models import hashed_dropout


def layer_norm(eps: float, name: str) -> nn.LayerNorm:
  """LayerNorm with two-pass variance, computed in the dtype of its input."""
  return nn.LayerNorm(epsilon=eps, use_fast_variance=False, name=name)


def is_half(dtype: DTypeLike) -> bool:
  """Whether a dtype has 16 bits."""
  return jnp.dtype(dtype) in (jnp.bfloat16, jnp.float16)


def gelu(x: jax.Array) -> jax.Array:
  """Exact GELU: x * Phi(x), with the normal distribution's Phi.

  Half precision is computed in float32 by erf, which compilers have as one
  operation; erfc, which float32 needs for the digits of its left tail, costs
  them two polynomials and a pass over the array more.
  """
  if not is_half(x.dtype):
    return jax.nn.gelu(x, approximate=False)
  exact = x.astype(jnp.float32)
  y = 0.5 * exact * (1.0 + jax.lax.erf(exact * 0.5**0.5))
  return y.astype(x.dtype)


def dropout(module: nn.Module, x: jax.Array, rate: float) -> jax.Array:
  """Inverted dropout of elements, if the module runs with a key for it.

  Args:
    module: whose key it takes.
    x: [B, ..., D].
    rate: probability that an element is dropped.
  """
  if not rate or not module.has_rng("dropout"):
    return x
  rng = module.make_rng("dropout")
  kept = hashed_dropout.kept_elements(rng, x.shape, rate)
  return jnp.where(kept, x / hashed_dropout.kept_share(rate), 0.0)
