"""A bias and its gradient, by hand."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from d2v_jax.models.bias import add_bias
from d2v_jax.models.linear import product


@pytest.mark.parametrize("shape", [(3, 5, 4), (7, 4)])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_values_and_gradients(shape, dtype):
  rng = np.random.default_rng(0)
  x, dy = (jnp.asarray(rng.normal(size=shape), dtype) for _ in range(2))
  bias = jnp.asarray(rng.normal(size=4), jnp.float32)
  y, pull = jax.vjp(add_bias, x, bias)
  dx, dbias = pull(dy)
  assert (y.dtype, dx.dtype, dbias.dtype) == (dtype, dtype, jnp.float32)
  exact = np.asarray(x, np.float64) + np.asarray(bias.astype(dtype), np.float64)
  np.testing.assert_allclose(
    y.astype(jnp.float32), exact, rtol=jnp.finfo(dtype).eps
  )
  np.testing.assert_array_equal(dx, dy)
  rows = np.asarray(dy, np.float64).reshape(-1, 4)
  np.testing.assert_allclose(dbias, rows.sum(0), rtol=1e-5)


def test_many_rows_are_summed_in_float32():
  dy = jnp.full((64, 64, 2), 1.0, jnp.bfloat16)
  _, pull = jax.vjp(add_bias, dy, jnp.zeros(2, jnp.bfloat16))
  assert pull(dy)[1].tolist() == [4096.0, 4096.0]


def test_cpus_sum_a_bias_in_the_shape_that_it_has():
  heads = (64, 65, 3, 4, 8)  # [B, N, 3, heads, d]

  def squares(kernel, bias, x):
    qkv = add_bias(product(x, kernel), bias).reshape(heads)
    q, k, v = jnp.moveaxis(qkv, 2, 0)
    weights = jax.nn.softmax(jnp.einsum("bqhd,bkhd->bhqk", q, k))
    return jnp.square(jnp.einsum("bhqk,bkhd->bqhd", weights, v)).sum()

  arrays = jnp.ones((32, 96)), jnp.zeros(96), jnp.ones((*heads[:2], 32))
  gradients = jax.jit(jax.grad(squares, (0, 1)))
  compiled = gradients.lower(*arrays).compile().as_text()
  assert not re.search(r"f32\[(\d+,){4}\d+\]\S* reduce-window\(", compiled)
