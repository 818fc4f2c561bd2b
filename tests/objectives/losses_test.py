import jax.numpy as jnp
import numpy as np
import pytest

from d2v_jax.objectives import losses


@pytest.mark.parametrize(
  ("beta", "error", "expected"),
  [
    (2.0, 1.0, 0.25),
    (2.0, 2.0, 1.0),
    (2.0, -3.0, 2.0),
    (2.0, 5.0, 4.0),
    (4.0, 1.0, 0.125),
    (4.0, 5.0, 3.0),
    (0.0, 3.0, 9.0),
    (0.0, -0.5, 0.25),
  ],
)
def test_regression_loss_by_hand(beta, error, expected):
  value = losses.regression_loss(jnp.array([error]), jnp.zeros(1), beta)
  np.testing.assert_allclose(value, [expected], rtol=1e-6)


def test_losses_are_float32_for_bfloat16():
  x = jnp.ones((2, 3, 4), jnp.bfloat16)
  assert losses.regression_loss(x, x, 1.0).dtype == jnp.float32
  assert losses.masked_std(x, jnp.ones((2, 3), bool)).dtype == jnp.float32


def test_masked_mean_of_nothing_is_zero():
  values = jnp.full((2, 3), jnp.nan)
  assert losses.masked_mean(values, jnp.zeros((2, 3), bool)) == 0


def test_masked_mean_leaves_out_what_is_not_masked():
  values = jnp.array([[1.0, jnp.nan], [3.0, jnp.inf]])
  mask = jnp.array([[True, False], [True, False]])
  assert losses.masked_mean(values, mask) == 2


def test_masked_std_against_numpy():
  rng = np.random.default_rng(0)
  x = rng.normal(size=(4, 6, 3)).astype(np.float32)
  mask = rng.random((4, 6)) < 0.5
  expected = np.sqrt(x[mask].astype(np.float64).var(0, ddof=1) + 1e-6).mean()
  np.testing.assert_allclose(losses.masked_std(x, mask), expected, rtol=1e-6)


def test_errors():
  with pytest.raises(ValueError, match=r"\(2,\) and target \(3,\) must have"):
    losses.regression_loss(jnp.zeros(2), jnp.zeros(3), 1.0)
  with pytest.raises(ValueError, match="beta must be 0 or more, got -1"):
    losses.regression_loss(jnp.zeros(2), jnp.zeros(2), -1.0)
  with pytest.raises(ValueError, match="unknown loss_scale 'sum'; choose one"):
    losses.check_regression("Data2Vec", 0.0, "sum")


@pytest.mark.parametrize(
  ("scale", "factor"), [("mean", 1 / 16), ("rsqrt", 1 / 4), (3.0, 3.0)]
)
def test_loss_scale_of_width_16(scale, factor):
  assert losses.loss_scale(scale, 16) == factor
