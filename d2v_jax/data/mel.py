"""Bands of the mel scale, and the windows whose spectra they sum.

Source: windows, bands and the logarithm are those of speech recognition: Hann,
25 ms every 10 ms, triangles between equidistant points of the mel scale
2595 log10(1 + f / 700 Hz) from 0 to 8 kHz, natural logarithm of power.
"""

import functools

import numpy as np

RATE = 16_000
WINDOW = 400  # samples, 25 ms
HOP = 160  # samples, 10 ms
FFT_SIZE = 512
# Noise of unit variance has a power of 150 at each frequency of a window; what
# is 60 dB below that is silence.
FLOOR = 1.5e-4


def hann() -> np.ndarray:
  """A periodic Hann window, float64 [WINDOW]."""
  return np.hanning(WINDOW + 1)[:-1]


def bands(number: int, fft_size: int = FFT_SIZE) -> np.ndarray:
  """Weights [frequencies, bands] of the power spectrum, float64.

  Each band is a triangle over frequency, 1 at its middle and 0 at the middles
  of its neighbours.

  Args:
    number: of bands.
    fft_size: samples of the transform, filled up with zeros.
  """
  highest = 2595 * np.log10(1 + RATE / 2 / 700)
  mels = np.linspace(0, highest, number + 2)
  low, middle, high = (
    700 * (10 ** (mels[i : i + number] / 2595) - 1) for i in range(3)
  )
  frequencies = np.fft.rfftfreq(fft_size, 1 / RATE)[:, None]
  rising = (frequencies - low) / (middle - low)
  falling = (high - frequencies) / (high - middle)
  return np.maximum(0, np.minimum(rising, falling))


def log_mel(samples: np.ndarray, number: int) -> np.ndarray:
  """Log-mel frames of a waveform.

  Args:
    samples: float [T] at 16 kHz, T of at least WINDOW.
    number: of bands.

  Returns:
    float32 [1 + (T - WINDOW) // HOP, number].

  Raises:
    ValueError: there are fewer samples than a window has.
  """
  windows = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP]
  weights, fft_size = _fine_bands(number)
  spectrum = np.fft.rfft(windows * hann(), fft_size)  # [frames, frequencies]
  power = spectrum.real**2 + spectrum.imag**2
  return np.log(power @ weights + FLOOR).astype(np.float32)


@functools.cache
def _fine_bands(number: int) -> tuple[np.ndarray, int]:
  """Bands that each hold a frequency, and the size of their transform.

  Their sums are those of FFT_SIZE, as a finer transform has more frequencies.
  """
  fft_size = FFT_SIZE
  while not (weights := bands(number, fft_size)).any(axis=0).all():
    fft_size *= 2
  return weights * (FFT_SIZE / fft_size), fft_size
