import math

import numpy as np
import pytest

from d2v_jax.data import mel


def reference(samples, number):
  """One window, one frequency and one band at a time, of 512 frequencies."""

  def hertz(k):
    highest = 2595 * math.log10(1 + 8000 / 700)
    return 700 * (10 ** (k * highest / (number + 1) / 2595) - 1)

  frames = []
  for start in range(0, len(samples) - 399, 160):
    window = [
      x * (0.5 - 0.5 * math.cos(2 * math.pi * i / 400))
      for i, x in enumerate(samples[start : start + 400])
    ]
    power = np.abs(np.fft.fft(window, 512)[:257]) ** 2
    frame = []
    for k in range(number):
      low, middle, high = hertz(k), hertz(k + 1), hertz(k + 2)
      total = 0.0
      for i, p in enumerate(power):
        f = i * 16000 / 512
        if low < f <= middle:
          total += p * (f - low) / (middle - low)
        elif middle < f < high:
          total += p * (high - f) / (high - middle)
      frame.append(math.log(total + 1.5e-4))
    frames.append(frame)
  return np.array(frames)


def test_frames_of_noise():
  samples = np.random.default_rng(0).normal(size=1000).astype(np.float32)
  got = mel.log_mel(samples, 20)
  assert got.shape == (4, 20) and got.dtype == np.float32
  np.testing.assert_allclose(got, reference(samples, 20), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("number", [80, 128, 256])
def test_bands_are_never_deaf(number):
  noise = np.random.default_rng(0).normal(size=16_000)
  frames = mel.log_mel(noise, number)
  assert frames.min() > math.log(mel.FLOOR)
  # A finer transform hears as much, up to the ends of the first and last band.
  whole = np.exp(mel.log_mel(noise, 20)).sum(1).mean()
  assert np.exp(frames).sum(1).mean() == pytest.approx(whole, rel=0.1)


def test_silence_is_the_floor():
  frames = mel.log_mel(np.zeros(720), 8)
  np.testing.assert_allclose(frames, np.full((3, 8), math.log(1.5e-4)), 1e-6)


def test_too_few_samples():
  with pytest.raises(ValueError, match="window shape cannot be larger"):
    mel.log_mel(np.zeros(399), 8)
