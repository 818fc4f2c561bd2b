"""Each channel of a signal brought to mean 0 and variance 1."""

import dataclasses

import numpy as np

from d2v_jax.data.files.unreadable import Unreadable

Channels = tuple[float, ...]

# A channel that varies by less, against its largest value, is constant: that
# much is rounding of float32.
_CONSTANT = 1e-6


@dataclasses.dataclass(frozen=True)
class Normalisation:
  """How channels are normalised.

  Args:
    channels: C.
    mean: of each channel, subtracted; None: that of the whole recording.
    std: of each channel, divided by; None: that of the whole recording. A
      channel that is constant becomes 0.

  Raises:
    ValueError: one is given without the other, or for another number of
      channels, or a std is not above 0.
  """

  channels: int
  mean: Channels | None = None
  std: Channels | None = None

  def __post_init__(self) -> None:
    if (self.mean is None) != (self.std is None):
      raise ValueError(
        f"mean and std go together, got mean={self.mean} and std={self.std}; "
        "give both, or neither to normalise each recording by itself"
      )
    for name, values in (("mean", self.mean), ("std", self.std)):
      if values is not None and len(values) != self.channels:
        raise ValueError(
          f"{name} has {len(values)} values for {self.channels} channels "
          "(config.encoder.channels); give one for each"
        )
    if self.std is not None and not 0 < min(self.std) <= max(self.std) < np.inf:
      raise ValueError(f"std must be above 0 in each channel, got {self.std}")

  def __call__(self, signal: np.ndarray) -> np.ndarray:
    """Returns a normalised signal.

    Args:
      signal: finite numbers [T, C], a whole recording: it is cropped later.

    Returns:
      float32 [T, C].

    Raises:
      Unreadable: it is constant in every channel.
    """
    exact = signal.astype(np.float64)
    if self.mean is not None and self.std is not None:
      return ((exact - self.mean) / self.std).astype(np.float32)
    mean, std = exact.mean(0), exact.std(0)
    constant = std <= _CONSTANT * np.abs(exact).max(0)  # [C]
    if constant.all():
      raise Unreadable("it is constant in every channel")
    scaled = (exact - mean) / np.where(constant, 1.0, std)
    return np.where(constant, 0.0, scaled).astype(np.float32)
