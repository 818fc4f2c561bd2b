import numpy as np
import pytest

from d2v_jax.evaluators.effective_rank import EffectiveRank, effective_rank
from d2v_jax.evaluators.features import Features


def reference(x):
  """From the eigenvalues of the uncentred second moments, in float64."""
  x = x.astype(np.float64)
  values = np.sqrt(np.clip(np.linalg.eigvalsh(x.T @ x), 0, None))
  p = values / values.sum() + 1e-12
  return np.exp(-np.sum(p * np.log(p)))


class TestEffectiveRank:
  def test_equals_the_formula(self):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 24)) * np.arange(1, 25) + 2
    x = x.astype(np.float32)
    got = EffectiveRank()({"test": (x, None)})
    assert list(got) == ["test"]
    np.testing.assert_allclose(got["test"], reference(x), rtol=1e-6)

  @pytest.mark.parametrize("rank", [1, 3, 8])
  def test_equal_directions_are_counted(self, rank):
    x = np.zeros((40, 8), np.float32)
    x[: 5 * rank] = np.tile(np.eye(8)[:rank], (5, 1))
    np.testing.assert_allclose(effective_rank(x), rank, rtol=1e-6)

  def test_two_unequal_directions(self):
    # Singular values 3 and 1: shares 3/4 and 1/4.
    x = np.diag([3.0, 1.0, 0.0])
    expected = np.exp(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25)))
    np.testing.assert_allclose(effective_rank(x), expected, rtol=1e-6)

  def test_is_not_centred(self):
    # Centred, these would have no direction at all.
    np.testing.assert_allclose(effective_rank(np.ones((9, 4))), 1, rtol=1e-6)

  def test_zero_features(self):
    assert effective_rank(np.zeros((5, 4))) == 0.0

  def test_large_split_is_sampled_reproducibly(self):
    # Sorted by class, as files on a disk are: first rows would not do.
    x = np.repeat(np.eye(10, dtype=np.float32), 100, 0)
    evaluator = EffectiveRank(max_rows=200, split="train")
    first = evaluator({"train": (x, None)})
    assert first == evaluator({"train": (x, None)})
    assert first["train"] > 9

  def test_unknown_split(self):
    with pytest.raises(
      ValueError, match="unknown split 'val'; choose one of: train, test"
    ):
      EffectiveRank(split="val")({"train": (None, None), "test": (None, None)})

  def test_max_rows(self):
    with pytest.raises(ValueError, match="max_rows is 0; choose at least 1"):
      EffectiveRank(max_rows=0)


def test_all_layers_are_another_evaluator_s():
  with pytest.raises(
    ValueError, match=r"EffectiveRank: features\.layers is 'all', and"
  ):
    EffectiveRank(features=Features(layers="all"))


def test_one_pooling():
  with pytest.raises(
    ValueError,
    match=r"EffectiveRank: features\.pool is \('mean', 'mean_std'\), .* or let "
    r"LinearProbe \('linear_probe'\) or Knn \('knn'\) choose on held-out exa",
  ):
    EffectiveRank(features=Features(pool=("mean", "mean_std")))
