import numpy as np
import pytest
from scipy import stats

from d2v_jax.evaluators.interval import summary


class TestSummary:
  @pytest.mark.parametrize("n", [2, 3, 5, 30])
  def test_equals_scipy(self, n):
    values = np.random.default_rng(n).normal(0.7, 0.1, n)
    low, high = stats.t.interval(
      0.95, n - 1, loc=values.mean(), scale=stats.sem(values)
    )
    assert summary("a", values) == pytest.approx(
      {"a": values.mean(), "a_low": low, "a_high": high}, abs=1e-9
    )

  def test_by_hand(self):
    # t of 0.975 with one degree of freedom is 12.7062; the std 0.1 sqrt(2).
    results = summary("a", [0.5, 0.7])
    assert results["a"] == pytest.approx(0.6)
    assert results["a_low"] == pytest.approx(0.6 - 12.7062 * 0.1, abs=1e-5)
    assert results["a_high"] == pytest.approx(0.6 + 12.7062 * 0.1, abs=1e-5)

  def test_one_value(self):
    assert summary("a", [0.3]) == {"a": 0.3}

  def test_equal_values(self):
    assert summary("a", [0.5] * 3) == {"a": 0.5, "a_low": 0.5, "a_high": 0.5}
