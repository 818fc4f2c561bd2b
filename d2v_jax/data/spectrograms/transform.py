"""Recordings of any length as log-mel frames of one size, and their masks."""

import dataclasses
from collections.abc import Callable

import numpy as np

from d2v_jax.data import mel
from d2v_jax.data.layout import SpectrogramInputs
from d2v_jax.data.masks.mask import Mask
from d2v_jax.data.source import Example

Labels = Callable[[Example], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Frames:
  """Log-mel frames of part of a recording, normalised.

  What is shorter than the part is followed by silence, as samples, whose value
  in every band is (log FLOOR - mean) / std.

  Args:
    inputs: what the network takes.
    mean: subtracted from all values.
    std: they are divided by.

  Raises:
    ValueError: std is not above 0.
  """

  inputs: SpectrogramInputs
  mean: float
  std: float

  def __post_init__(self) -> None:
    if not 0 < self.std < np.inf:
      raise ValueError(f"std must be above 0, got {self.std}")

  def __call__(self, samples: np.ndarray, start: int) -> np.ndarray:
    """Returns float32 [frames, bands, 1].

    Args:
      samples: float32 [n] at 16 kHz, a whole recording.
      start: first sample of the part.
    """
    length, (_, bands) = self.inputs.samples, self.inputs.size
    part = samples[start : start + length]
    part = np.pad(part, (0, length - len(part)))
    frames = (mel.log_mel(part, bands) - self.mean) / self.std
    return frames.astype(np.float32)[..., None]

  def silence(self, samples: np.ndarray) -> np.ndarray:
    """Returns bool [N], True at patches of frames behind the recording's end.

    Args:
      samples: float32 [n] at 16 kHz, a whole recording.
    """
    rows, columns = self.inputs.grid
    begins = np.arange(rows) * self.inputs.patch_size * mel.HOP
    return np.repeat(begins >= len(samples), columns)

  def spare(self, samples: np.ndarray) -> int:
    """Returns how many samples more there are than a part has."""
    return max(0, len(samples) - self.inputs.samples)


@dataclasses.dataclass(frozen=True)
class SpectrogramTrainTransform:
  """Frames of a part at random, and their masks.

  Args:
    frames: what makes them.
    mask: what draws the hidden patches, once or several times; None for no
      mask.
    labels: example -> label; None for no label.
  """

  frames: Frames
  mask: Mask | None = None
  labels: Labels | None = None

  def __call__(self, example: Example, rng: np.random.Generator) -> Example:
    """Prepares one recording.

    Args:
      example: 'samples' float32 [n] at 16 kHz; 'requested' and 'record' are
        handed on.
      rng: the only source of randomness.

    Returns:
      'inputs' float32 [frames, bands, 1]; 'mask' bool [N], True = hidden, of
      patches in row-major order, or of M masks [M, N], and with them 'keep_ids'
      int32 [M, V]; 'label'; and what is handed on.
    """
    samples = example["samples"]
    start = int(rng.integers(self.frames.spare(samples) + 1))
    out: Example = {"inputs": self.frames(samples, start)}
    if self.mask is not None:
      out |= self.mask(rng, {"grid": self.frames.inputs.grid})
    if self.labels is not None:
      out["label"] = self.labels(example)
    return out | {k: example[k] for k in ("requested", "record")}

  def kept(self, example: Example, rng: np.random.Generator) -> float:
    """Returns the share of a recording that is shown; the same in any draw."""
    del rng
    samples = example["samples"]
    return 1 - self.frames.spare(samples) / len(samples)


@dataclasses.dataclass(frozen=True)
class SpectrogramEvalTransform:
  """Frames of the middle of a recording, the same each time.

  Args:
    frames: what makes them.
    labels: example -> label; None for no label.
  """

  frames: Frames
  labels: Labels | None = None

  def __call__(self, example: Example) -> Example:
    """Prepares one recording.

    Args:
      example: 'samples' float32 [n] at 16 kHz.

    Returns:
      'inputs' float32 [frames, bands, 1]; 'padding' bool [N], True at patches
      that are silence behind a shorter recording: the network sees them, but no
      pool of its features has them; and 'label' if there is one.
    """
    samples = example["samples"]
    start = self.frames.spare(samples) // 2
    out: Example = {
      "inputs": self.frames(samples, start),
      "padding": self.frames.silence(samples),
    }
    if self.labels is not None:
      out["label"] = self.labels(example)
    return out
