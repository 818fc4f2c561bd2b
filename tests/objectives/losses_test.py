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


class TestPositionShare:
  def test_against_an_analysis_of_variance(self):
    rng = np.random.default_rng(0)
    x = rng.normal(3, 1, (1, 5, 2)) + rng.normal(0, 1, (6, 5, 2))
    padding = np.zeros((6, 5), bool)
    padding[0, 3:] = padding[4, 1:] = True
    x[padding] = 100
    groups = [x[~padding[:, n], n] for n in range(5)]
    rows = np.concatenate(groups)
    within = sum(((g - g.mean(0)) ** 2).sum() for g in groups) / (len(rows) - 5)
    total = ((rows - rows.mean(0)) ** 2).sum() / (len(rows) - 1)
    share = losses.position_share(jnp.asarray(x), jnp.asarray(padding))
    assert 0.1 < share < 0.9
    np.testing.assert_allclose(share, 1 - within / total, rtol=1e-5)

  def test_the_same_tokens_in_all_examples(self):
    x = jnp.broadcast_to(jnp.arange(6.0).reshape(1, 3, 2), (4, 3, 2))
    np.testing.assert_allclose(losses.position_share(x, None), 1, rtol=1e-6)

  def test_of_one_example_nothing_is_known(self):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 3, 2)))
    assert losses.position_share(x, None) == 0

  def test_no_variance(self):
    assert losses.position_share(jnp.ones((4, 3, 2)), None) <= 1
