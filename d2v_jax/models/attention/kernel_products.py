"""Products of matrices inside of kernels."""

import jax
import jax.numpy as jnp


def dot(a: jax.Array, b: jax.Array) -> jax.Array:
  """[m, k] [k, n] -> [m, n], as `dot_nt`."""
  return _product(a, b, (1, 0))


def dot_nt(a: jax.Array, b: jax.Array) -> jax.Array:
  """[m, k] [n, k] -> [m, n].

  Sums are in float32, or float64 for such inputs; float32 inputs are not
  rounded on the way.
  """
  return _product(a, b, (1, 1))


def _product(a, b, contracted):
  dims = (((contracted[0],), (contracted[1],)), ((), ()))
  exact = a.dtype != jnp.bfloat16
  return jax.lax.dot_general(
    a,
    b,
    dims,
    precision=jax.lax.Precision.HIGHEST if exact else None,
    preferred_element_type=jnp.promote_types(a.dtype, jnp.float32),
  )
