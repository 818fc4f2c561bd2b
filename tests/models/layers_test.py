"""Norms against float64, GELU against scipy in each precision; dropout."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from d2v_jax.models.layers import dropout, gelu, layer_norm


@pytest.mark.parametrize(
  ("dtype", "mean", "error"),
  [("float32", 100.0, 1e-4), ("bfloat16", 3.0, 1e-5), ("bfloat16", 0.0, 1e-6)],
)
def test_layer_norm(dtype, mean, error):
  rng = np.random.default_rng(0)
  x = (mean + rng.normal(size=(5, 7, 96))).astype(np.float32)
  scale, bias, dy = rng.normal(size=(3, 96)).astype(np.float32)
  x[0, 0] = 2.0  # all the same: a variance of zero

  def by_hand(x, scale, bias, xp):
    centred = x - x.mean(-1, keepdims=True)
    variance = xp.square(centred).mean(-1, keepdims=True)
    return centred / xp.sqrt(variance + 1e-5) * scale + bias

  norm = layer_norm(1e-5, "norm", dtype)
  got, pull = jax.vjp(
    lambda x, scale, bias: norm.apply(
      {"params": {"scale": scale, "bias": bias}}, x
    ),
    *(x, scale, bias),
  )
  with jax.enable_x64(True):
    exact = [a.astype(np.float64) for a in (x, scale, bias)]
    want, pull_exact = jax.vjp(lambda *a: by_hand(*a, jnp), *exact)
    slopes = pull_exact(np.broadcast_to(dy, x.shape).astype(np.float64))
  np.testing.assert_allclose(want, by_hand(*exact, np), atol=1e-12)
  assert got.dtype == jnp.float32
  np.testing.assert_allclose(got, want, atol=error, rtol=error)
  for mine, slope in zip(
    pull(jnp.broadcast_to(dy, x.shape)), slopes, strict=True
  ):
    np.testing.assert_allclose(
      mine[1:] if mine.ndim > 1 else mine,
      slope[1:] if slope.ndim > 1 else slope,
      atol=100 * error,
      rtol=10 * error,
    )


def test_parameters_and_dtype_of_layer_norm():
  x = jnp.ones((2, 8), jnp.bfloat16)
  norm = layer_norm(1e-6, "norm", "bfloat16")
  params = norm.init(jax.random.key(0), x)["params"]
  like = nn.LayerNorm().init(jax.random.key(0), x)["params"]
  jax.tree.map(np.testing.assert_array_equal, params, like)
  assert norm.apply({"params": params}, x).dtype == jnp.float32


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


class Dropped(nn.Module):
  """Dropout twice."""

  rate: float

  @nn.compact
  def __call__(self, x):
    return dropout(self, x, self.rate), dropout(self, x, self.rate)


def test_dropout_of_elements():
  x = jnp.linspace(1, 2, 4 * 64 * 96).reshape(4, 64, 96)
  np.testing.assert_array_equal(Dropped(0.25).apply({}, x)[0], x)
  key = {"dropout": jax.random.key(0)}
  np.testing.assert_array_equal(Dropped(0.0).apply({}, x, rngs=key)[0], x)
  one, other = map(np.asarray, Dropped(0.25).apply({}, x, rngs=key))
  kept = one != 0
  assert kept.mean() == pytest.approx(0.75, abs=0.01)
  assert (kept != (other != 0)).mean() == pytest.approx(0.375, abs=0.02)
  np.testing.assert_allclose(one[kept], np.asarray(x)[kept] / 0.75, rtol=1e-6)
  half = Dropped(0.25).apply({}, x.astype(jnp.bfloat16), rngs=key)[0]
  assert half.dtype == jnp.bfloat16
  np.testing.assert_array_equal(np.asarray(half) != 0, kept)
