import numpy as np
import pytest

from d2v_jax.data.files.unreadable import Unreadable
from d2v_jax.data.signals import look as signals_look
from d2v_jax.data.signals.normalise import Normalisation


def signal(n=50, channels=2):
  rng = np.random.default_rng(0)
  return rng.integers(-9, 9, (n, channels)) * np.array([1, 1000])[:channels]


def look(values, mean=None, std=None):
  record = {"signal": values, "label": 1}
  return signals_look.look(record, 2, Normalisation(2, mean, std))


def test_numbers_and_moments():
  values = signal()
  seen = look(values)
  assert seen.numbers == {
    "length, samples": 50,
    "smallest value": values.min(),
    "largest value": values.max(),
  }
  assert seen.kinds == {"values": "int64", "channels": "2"}
  # Each channel by itself, in the unit that it is stored in.
  np.testing.assert_allclose(seen.moments[0], values.mean(0), rtol=1e-12)
  np.testing.assert_allclose(seen.moments[1], (values**2).mean(0), rtol=1e-12)


def test_the_same_numbers_of_another_type():
  values = signal()
  assert look(values).digest == look(values.astype(np.float32)).digest
  assert look(values).digest != look(values + 1).digest


def test_constant_channels():
  values = signal()
  assert look(values).oddity == ""
  values[:, 1] = 7
  assert look(values).oddity == "channel 1 constant"
  values[:, 0] = 0
  # Normalised by fixed numbers it can be used.
  fixed = look(values, mean=(0.0, 0.0), std=(1.0, 1.0))
  assert fixed.oddity == "channels 0, 1 constant"
  with pytest.raises(Unreadable, match="it is constant in every channel"):
    look(values)


@pytest.mark.parametrize(
  ("values", "reason"),
  [
    (signal(channels=1), "it has 1 channels, and the encoder 2"),
    (np.full((5, 2), np.nan), "10 of its values are missing or infinite"),
  ],
)
def test_what_cannot_be_used(values, reason):
  with pytest.raises(Unreadable, match=reason):
    look(values)
