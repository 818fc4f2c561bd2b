"""Recordings of any length as log-mel frames of one size, and their masks."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable

import numpy as np

from d2v_jax.data import mel
from d2v_jax.data.layout import SpectrogramInputs
from d2v_jax.data.masks.mask import Mask, keep_ids
from d2v_jax.data.source import Example

Labels = Callable[[Example], np.ndarray]


@dataclasses.dataclass(frozen=True)
class LogMelFrames:
  """Log-mel frames of part of a recording, normalised.

  What is shorter than the part is followed by silence, as samples, whose value
  in every band is (log FLOOR - mean) / std. Patches of nothing else are
  padding.

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

  def rows(self, samples: np.ndarray) -> int:
    """Returns how many patches in time have something of a recording, from 1.

    Args:
      samples: float32 [n] at 16 kHz.
    """
    hop = self.inputs.patch_size * mel.HOP
    return min(self.inputs.grid[0], max(1, -(-len(samples) // hop)))

  def padding(self, rows: int) -> np.ndarray:
    """Returns bool [N], True at patches that are none of the first rows."""
    height, width = self.inputs.grid
    return np.repeat(np.arange(height) >= rows, width)

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

  frames: LogMelFrames
  mask: Mask | None = None
  labels: Labels | None = None

  def __call__(self, example: Example, rng: np.random.Generator) -> Example:
    """Prepares one recording.

    Args:
      example: 'samples' float32 [n] at 16 kHz; 'requested' and 'record' are
        handed on.
      rng: the only source of randomness.

    Returns:
      'inputs' float32 [frames, bands, 1]; 'padding' bool [N], of patches in
      row-major order; 'mask' bool [N], True = hidden, or of M masks [M, N], and
      with them 'keep_ids' int32 [M, V]; 'label'; and what is handed on.
      Padding is not hidden. Where there are fewer than V visible patches that
      are none, some of it is kept with them.
    """
    samples = example["samples"]
    start = int(rng.integers(self.frames.spare(samples) + 1))
    rows = max(self.frames.rows(samples), self._least_rows)
    out: Example = {
      "inputs": self.frames(samples, start),
      "padding": self.frames.padding(rows),
    }
    if self.mask is not None:
      out |= self._masked(self.mask, rng, rows)
    if self.labels is not None:
      out["label"] = self.labels(example)
    return out | {k: example[k] for k in ("requested", "record")}

  @functools.cached_property
  def _least_rows(self) -> int:
    """The fewest rows of patches that a mask can be drawn on."""
    height, width = self.frames.inputs.grid
    for rows in range(1, height):
      with contextlib.suppress(ValueError):
        if self.mask is not None:
          self.mask.check((rows, width))
        return rows
    return height

  def _masked(
    self, mask: Mask, rng: np.random.Generator, rows: int
  ) -> dict[str, np.ndarray]:
    """Masks drawn on the first rows of the grid, as those of all of it."""
    height, width = self.frames.inputs.grid
    drawn = mask(rng, {"grid": (rows, width)})[
      "mask"
    ]  # [rows * width], or [M, ...]
    added = [(0, 0)] * (drawn.ndim - 1) + [(0, (height - rows) * width)]
    hidden = np.pad(drawn, added)  # [N], or [M, N]
    if mask.num_masks is None:
      return {"mask": hidden}
    return {"mask": hidden, "keep_ids": keep_ids(hidden, self._num_visible)}

  @functools.cached_property
  def _num_visible(self) -> int:
    """V: how many patches of a recording that fills the grid are visible."""
    assert self.mask is not None
    grid = self.frames.inputs.grid
    return self.mask(np.random.default_rng(0), {"grid": grid})[
      "keep_ids"
    ].shape[1]

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

  frames: LogMelFrames
  labels: Labels | None = None

  def __call__(self, example: Example) -> Example:
    """Prepares one recording.

    Args:
      example: 'samples' float32 [n] at 16 kHz.

    Returns:
      'inputs' float32 [frames, bands, 1]; 'padding' bool [N], True at patches
      of the silence behind it; and 'label' if there is one.
    """
    samples = example["samples"]
    start = self.frames.spare(samples) // 2
    out: Example = {
      "inputs": self.frames(samples, start),
      "padding": self.frames.padding(self.frames.rows(samples)),
    }
    if self.labels is not None:
      out["label"] = self.labels(example)
    return out
