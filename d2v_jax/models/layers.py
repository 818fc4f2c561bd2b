"""Layer norm and dropout, as all networks use them."""

import flax.linen as nn
import jax
import jax.numpy as jnp


def layer_norm(eps: float, name: str) -> nn.LayerNorm:
  """LayerNorm with two-pass variance, computed in the dtype of its input."""
  return nn.LayerNorm(epsilon=eps, use_fast_variance=False, name=name)


def plain_layer_norm(eps: float) -> nn.LayerNorm:
  """`layer_norm` without parameters."""
  return nn.LayerNorm(
    epsilon=eps, use_bias=False, use_scale=False, use_fast_variance=False
  )


def gelu(x: jax.Array) -> jax.Array:
  """Exact GELU: x * Phi(x), with the normal distribution's Phi."""
  return jax.nn.gelu(x, approximate=False)


def dropout(module: nn.Module, x: jax.Array, rate: float) -> jax.Array:
  """Inverted dropout of elements, if the module runs with a key for it."""
  if not rate or not module.has_rng("dropout"):
    return x
  keep = 1.0 - rate
  kept = jax.random.bernoulli(module.make_rng("dropout"), keep, x.shape)
  return jnp.where(kept, x / keep, 0.0)
