"""Norms without parameters: of targets, and of log-mel frames.

Variances are biased and epsilon is 1e-5, also where a network's norms use
another.

Source: the released code of data2vec, for its targets.
"""

import jax
import jax.numpy as jnp

_EPS = 1e-5


def full_precision(x: jax.Array) -> jax.Array:
  """The same numbers, in float32 or more."""
  return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def layer_norm(x: jax.Array, padding: jax.Array | None = None) -> jax.Array:
  """Normalises each token of x [B, N, D] over D; padding [B, N] is unused."""
  del padding
  x = full_precision(x)
  x -= x.mean(-1, keepdims=True)
  return x * jax.lax.rsqrt(jnp.square(x).mean(-1, keepdims=True) + _EPS)


def instance_norm(x: jax.Array, padding: jax.Array | None = None) -> jax.Array:
  """Normalises each channel of each example of x [B, N, D] over N.

  Padded tokens (padding [B, N] True) are left out of the statistics.
  """
  return _over_tokens(x, (-2,), padding)


def batch_norm(x: jax.Array, padding: jax.Array | None = None) -> jax.Array:
  """Normalises each channel of x [B, N, D] over B and N of the global batch.

  Padded tokens (padding [B, N] True) are left out of the statistics.
  """
  return _over_tokens(x, (-3, -2), padding)


def _over_tokens(
  x: jax.Array, axes: tuple[int, ...], padding: jax.Array | None
) -> jax.Array:
  x = full_precision(x)
  if padding is None:
    counted = jnp.ones((*x.shape[:-1], 1), x.dtype)
  else:
    counted = (~padding[..., None]).astype(x.dtype)  # [B, N, 1]
  # An example that only fills a batch may be all padding.
  share = 1.0 / jnp.maximum(counted.sum(axes, keepdims=True), 1.0)
  x -= (x * counted).sum(axes, keepdims=True) * share
  variance = (jnp.square(x) * counted).sum(axes, keepdims=True) * share
  return x * jax.lax.rsqrt(variance + _EPS)
