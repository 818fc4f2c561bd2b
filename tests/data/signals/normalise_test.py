import numpy as np
import pytest

from d2v_jax.data.files.unreadable import Unreadable
from d2v_jax.data.signals.normalise import Normalisation

SIGNAL = np.random.default_rng(0).normal([5, -3], [2, 0.1], (50, 2))


def test_each_recording_by_itself():
  made = Normalisation(2)(SIGNAL)
  assert made.dtype == np.float32
  np.testing.assert_allclose(made.mean(0), 0, atol=1e-6)
  np.testing.assert_allclose(made.std(0), 1, atol=1e-6)
  # Units do not matter.
  volts = Normalisation(2)(SIGNAL * [1e-6, 1e6])
  np.testing.assert_allclose(volts, made, atol=1e-5)


def test_a_constant_channel_is_zero():
  level = np.float32(1e4)
  signal = np.stack([SIGNAL[:, 0], np.full(50, level)], 1)
  signal[::2, 1] = np.nextafter(level, np.float32(2e4))  # rounding
  made = Normalisation(2)(signal)
  assert not made[:, 1].any() and abs(made[:, 0].std() - 1) < 1e-5
  with pytest.raises(Unreadable, match="constant in every channel"):
    Normalisation(1)(np.full((9, 1), 3))


def test_by_what_is_given():
  made = Normalisation(2, (5.0, -3.0), (2.0, 0.5))(SIGNAL)
  np.testing.assert_allclose(made, (SIGNAL - [5, -3]) / [2, 0.5], atol=1e-5)
  flat = Normalisation(1, (1.0,), (2.0,))(np.full((4, 1), 5))
  np.testing.assert_array_equal(flat, 2)


@pytest.mark.parametrize(
  ("mean", "std", "message"),
  [
    ((1.0, 2.0), None, "mean and std go together"),
    ((1.0,), (1.0,), "mean has 1 values for 2 channels"),
    ((1.0, 2.0), (1.0, 0.0), "std must be above 0 in each channel"),
  ],
)
def test_what_is_refused(mean, std, message):
  with pytest.raises(ValueError, match=message):
    Normalisation(2, mean, std)
