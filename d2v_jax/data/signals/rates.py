"""Sampling rates of signals: what is known, and what is converted."""

import numpy as np
import soxr


def same_rates(owner: str, rate: float | None, count: int) -> np.ndarray:
  """Rates of recordings that all have the same one.

  Args:
    owner: who asks, for errors.
    rate: samples per second; None where it is not known.
    count: n.

  Returns:
    float64 [n], 0 where it is not known.

  Raises:
    ValueError: the rate is none.
  """
  if rate is not None and not 0 < rate < np.inf:
    raise ValueError(f"{owner}: rate must be above 0, got {rate}")
  return np.full(count, rate or 0.0)


def resampled_lengths(
  lengths: np.ndarray, rates: np.ndarray, rate: float
) -> np.ndarray:
  """Samples after `resampled`.

  Args:
    lengths: int64 [n], before.
    rates: float64 [n], samples per second before; 0: as after.
    rate: samples per second after.

  Returns:
    int64 [n], rounded, halves up.
  """
  ratio = np.where(rates > 0, rate / np.where(rates > 0, rates, 1.0), 1.0)
  return np.floor(lengths * ratio + 0.5).astype(np.int64)


def resampled(signal: np.ndarray, before: float, rate: float) -> np.ndarray:
  """Brings a signal to another rate, each channel by itself.

  Args:
    signal: float [T, C].
    before: its samples per second; 0: as after.
    rate: samples per second after.

  Returns:
    float [T', C].
  """
  if before in (0, rate):
    return signal
  # Beyond its ends soxr takes a signal for 0, which must be no step.
  level = signal.mean(0)
  return level + soxr.resample(signal - level, before, rate, quality="HQ")
