import numpy as np
import pytest

from d2v_jax.data.signals.rates import resampled, resampled_lengths


@pytest.mark.parametrize(("before", "rate"), [(50.0, 100.0), (128.0, 50.0)])
def test_slow_waves_stay_what_they_are(before, rate):
  def waves(rate):
    time = np.arange(round(8 * rate)) / rate
    waves = np.sin(2 * np.pi * 3 * time), np.cos(2 * np.pi * 5 * time)
    return 100 + np.stack(waves, 1)

  made = resampled(waves(before), before, rate)
  assert len(made) == resampled_lengths(
    np.array([round(8 * before)]), np.array([before]), rate
  )
  # Away from the ends, where a filter has nothing to see.
  inner = slice(round(rate), -round(rate))
  np.testing.assert_allclose(made[inner], waves(rate)[inner], atol=0.01)
  # An offset is no step at the ends.
  assert np.abs(made - 100).max() < 2


def test_nothing_happens_where_the_rate_is_the_same_or_not_known():
  signal = np.ones((5, 2))
  assert resampled(signal, 50.0, 50.0) is signal
  assert resampled(signal, 0.0, 50.0) is signal
  lengths = resampled_lengths(np.array([5, 5, 5]), np.array([50, 0, 100]), 50.0)
  assert lengths.tolist() == [5, 5, 3]  # halves up
