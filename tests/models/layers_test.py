"""GELU against the normal distribution of scipy, in each precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from d2v_jax.models.layers import gelu


@pytest.mark.parametrize(
  ("dtype", "digits"),
  [(jnp.float32, 2.0**-18), (jnp.bfloat16, 2.0**-8), (jnp.float16, 2.0**-10)],
)
def test_gelu_and_its_gradient(dtype, digits):
  x = jnp.linspace(-6, 6, 4001).astype(dtype)
  exact = np.asarray(x, np.float64)
  value = exact * special.ndtr(exact)
  density = np.exp(-(exact**2) / 2) / np.sqrt(2 * np.pi)
  slope = special.ndtr(exact) + exact * density
  got, pull = jax.vjp(gelu, x)
  assert got.dtype == dtype
  # The left tail has no digits in half precision, as in PyTorch.
  tail = 0.0 if dtype == jnp.float32 else 1e-6
  np.testing.assert_allclose(
    np.asarray(got, np.float64), value, rtol=digits, atol=tail
  )
  np.testing.assert_allclose(
    np.asarray(*pull(jnp.ones_like(x)), np.float64),
    slope,
    rtol=digits,
    atol=digits,
  )


def test_the_left_tail_of_float32_keeps_its_digits():
  x = np.float32(-8.0)
  want = float(x) * special.ndtr(float(x))  # -5e-15
  assert gelu(jnp.asarray(x)) == pytest.approx(want, rel=1e-4)
