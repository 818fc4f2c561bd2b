"""What makes two views of an utterance differ."""

import dataclasses

import numpy as np

from d2v_jax.data.ranges import check_range

_LOUDEST = 100  # dB; 16 bits span 96


@dataclasses.dataclass(frozen=True)
class WaveAugment:
  """A random piece, louder or softer, with noise and a gap.

  Args:
    piece: smallest and largest share of what fits into the batch's length that
      is kept, drawn uniformly.
    gain: the piece gets louder by U(-gain, gain) dB.
    noise: smallest and largest ratio of signal to white noise, in dB, drawn
      uniformly; None for no noise.
    gap: the largest share of the piece that is silent, in one place; its share
      is U(0, gap).

  Raises:
    ValueError: an argument is outside its range.

  Source: BYOL for audio (BYOL-A, arXiv 2204.07402) makes views by mixing in
  other sounds, cropping and stretching in time and frequency, and fading, all
  in log-mel spectrograms. These are the like on samples, and simpler: white
  noise for other sounds, pieces without stretching, one gain for fading, and
  SpecAugment's gap in time (arXiv 1904.08779, section 2). Their sizes are our
  choice.
  """

  piece: tuple[float, float] = (0.6, 1.0)
  gain: float = 6.0
  noise: tuple[float, float] | None = (10.0, 30.0)
  gap: float = 0.1

  def __post_init__(self) -> None:
    low, high = _pair("piece", self.piece)
    if not 0 < low <= high <= 1:
      raise ValueError(
        "WaveAugment: piece must be (low, high) with 0 < low <= high <= 1, got "
        f"{self.piece}"
      )
    check_range("WaveAugment", "gain", self.gain, 0, _LOUDEST)
    if self.noise is not None:
      low, high = _pair("noise", self.noise)
      if not -_LOUDEST <= low <= high <= _LOUDEST:
        raise ValueError(
          "WaveAugment: noise must be None or (low, high) in dB with "
          f"{-_LOUDEST} <= low <= high <= {_LOUDEST}, got {self.noise}"
        )
    if not 0 <= self.gap < 1:
      raise ValueError(
        f"WaveAugment: gap must be at least 0 and below 1, got {self.gap}"
      )

  def size(self, rng: np.random.Generator, available: int, least: int) -> int:
    """Draws the length of a piece.

    Args:
      rng: the only source of randomness.
      available: samples of the utterance that fit into the batch's length.
      least: samples of the shortest piece that the model makes a frame of.

    Returns:
      A number of samples, at most `available`.
    """
    share = rng.uniform(*self.piece)
    return min(available, max(least, round(share * available)))

  def smallest(self, available: int, least: int) -> int:
    """Returns the smallest that `size` can be."""
    return min(available, max(least, round(self.piece[0] * available)))

  def __call__(
    self, samples: np.ndarray, rng: np.random.Generator
  ) -> np.ndarray:
    """Changes one piece.

    Args:
      samples: float32 [n], or [n, C] of a signal, whose channels share gain and
        gap.
      rng: the only source of randomness.

    Returns:
      float32, of the same shape.
    """
    samples = samples * 10 ** (rng.uniform(-self.gain, self.gain) / 20)
    if self.noise is not None:
      power = np.sqrt(np.mean(samples**2))
      ratio = 10 ** (rng.uniform(*self.noise) / 20)
      samples += power / ratio * rng.standard_normal(samples.shape, np.float32)
    silent = round(rng.uniform(0, self.gap) * len(samples))
    start = int(rng.integers(0, len(samples) - silent, endpoint=True))
    samples[start : start + silent] = 0.0
    return samples


def _pair(name: str, value: tuple[float, ...]) -> tuple[float, float]:
  if len(value) != 2:
    raise ValueError(f"WaveAugment: {name} must be (low, high), got {value}")
  return value
