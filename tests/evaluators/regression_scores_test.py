import numpy as np
import pytest
import scipy.stats

from d2v_jax.evaluators import EVALUATORS
from d2v_jax.evaluators.features import Predictions

regression = EVALUATORS["regression"]


def score(x, y):
  return regression()(
    {"test": (np.asarray(x, np.float32), np.asarray(y, np.float32))}
  )


def test_by_hand():
  # Ranks 1 2 3 and 1 3 2: 1 - 6 (0 + 1 + 1) / (3 * 8) = 0.5.
  got = score([0, 1, 5], [0, 3, 2])
  assert got["spearman"] == pytest.approx(0.5)
  # Deviations -2 -1 3 and -5/3 4/3 1/3.
  assert got["pearson"] == pytest.approx(3 / np.sqrt(14 * 42 / 9))
  assert got["pearson_spearman"] == pytest.approx(
    (0.5 + 3 / np.sqrt(14 * 42 / 9)) / 2
  )
  assert got["mse"] == pytest.approx((0 + 4 + 9) / 3)


@pytest.mark.parametrize("ties", [False, True])
def test_is_scipy_s(ties):
  rng = np.random.default_rng(0)
  y = rng.normal(size=50)
  x = y + rng.normal(size=50)
  if ties:
    x, y = x.round(), y.round()
  got = score(x, y)
  x, y = x.astype(np.float32), y.astype(np.float32)
  pearson = scipy.stats.pearsonr(x, y).statistic
  spearman = scipy.stats.spearmanr(x, y).statistic
  assert got == pytest.approx(
    {
      "pearson": pearson,
      "spearman": spearman,
      "pearson_spearman": (pearson + spearman) / 2,
      "mse": np.mean((x - y) ** 2),
    },
    rel=1e-5,
  )


@pytest.mark.parametrize(
  ("x", "y"), [([2, 2, 2], [1, 2, 3]), ([1, 2, 3], [2, 2, 2]), ([1], [1])]
)
def test_a_constant_has_no_correlation(x, y):
  got = score(x, y)
  names = ("pearson", "spearman", "pearson_spearman")
  assert [got[name] for name in names] == [0, 0, 0]


def test_asks_for_predictions_of_its_split():
  assert regression(split="train").features == Predictions("train")


@pytest.mark.parametrize(
  ("x", "y", "message"),
  [
    (np.zeros(2), None, "labels of split 'test' are absent"),
    (np.zeros((2, 3)), np.zeros(2), r"predictions .* of shape \(2, 3\); this"),
  ],
)
def test_errors(x, y, message):
  with pytest.raises(ValueError, match=message):
    regression()({"test": (x, y)})
