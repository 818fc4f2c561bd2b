"""Crop, padding and masks of recordings, brought to a batch's length."""

import dataclasses
from collections.abc import Callable

import numpy as np

from d2v_jax.data import layout
from d2v_jax.data.layout import ConvLayers
from d2v_jax.data.masks.mask import Mask
from d2v_jax.data.recordings.augment import WaveAugment
from d2v_jax.data.source import Example

Labels = Callable[[Example], np.ndarray]


@dataclasses.dataclass(frozen=True)
class RecordingTrainTransform:
  """Random crop or padding, changes of sound, and masks of one recording.

  Of an utterance, or of a signal, whose channels share all of it.

  Args:
    conv_layers: (channels, kernel, stride) of the model's convolutions, which
      make N frames of T samples.
    mask: what draws the hidden frames, once or several times; None for no mask.
    channel_mask: what draws the channels that are set to zero, as if they were
      frames; None for none.
    width: the model's number of channels D; for `channel_mask`.
    labels: example -> label; None for no label.
    wave_augment: changes of sound; None leaves it as it is.
    views: 1, or 2 views of each utterance, made independently, for BYOL.

  Raises:
    ValueError: `channel_mask` without `width` or `mask`, or with several masks,
      wrong `conv_layers` or `views`.

  Source: data2vec (arXiv 2202.03555) section 4.2 and its code, which crops each
  batch to its shortest utterance. Batches here have one of a few lengths, so
  that shorter utterances are padded and the padding is handed on.
  """

  conv_layers: ConvLayers = layout.CONV_LAYERS
  mask: Mask | None = None
  channel_mask: Mask | None = None
  width: int | None = None
  labels: Labels | None = None
  wave_augment: WaveAugment | None = None
  views: int = 1

  def __post_init__(self) -> None:
    layout.num_frames(0, self.conv_layers)  # raises when they are wrong
    if self.views not in (1, 2):
      raise ValueError(
        f"RecordingTrainTransform: views must be 1 or 2, got {self.views}"
      )
    if self.channel_mask is not None:
      self._check_channel_mask(self.channel_mask)

  def _check_channel_mask(self, mask: Mask) -> None:
    if mask.num_masks is not None:
      raise ValueError(
        "RecordingTrainTransform: channel_mask hides one set of channels, not "
        "several; use the mask 'spans'"
      )
    if self.mask is None:
      raise ValueError(
        "RecordingTrainTransform: channel_mask hides channels beside hidden "
        "frames; set config.data.mask too, with a small prob, or leave it out"
      )
    if self.mask.num_masks is not None:
      raise ValueError(
        "RecordingTrainTransform: channel_mask goes with one mask of an "
        "utterance, not with several; leave it out"
      )
    if self.width is None or self.width < 1:
      raise ValueError(
        "RecordingTrainTransform: channel_mask needs the model's width, got "
        f"width={self.width}"
      )
    mask.check((self.width,))

  def check_length(self, length: int, shortest: int | None = None) -> None:
    """Raises ValueError where a batch has no frame, or cannot be masked.

    Args:
      length: T of the batch, in samples.
      shortest: samples of the shortest utterance; None for T.
    """
    total = _num_frames(length, self.conv_layers)
    if self.mask is None:
      return
    least = length if shortest is None else min(shortest, length)
    if self.wave_augment is not None:
      least = self.wave_augment.smallest(least, self._least)
    frames = layout.num_frames(least, self.conv_layers)
    self.mask.check((total,), shortest=frames)

  def __call__(self, example: Example, rng: np.random.Generator) -> Example:
    """Prepares one utterance.

    Args:
      example: 'samples' float32 [n], or [n, C] of a signal; 'length' T in
        samples; 'requested' and 'record' are handed on.
      rng: the only source of randomness.

    Returns:
      'inputs' float32 [T], or [T, C], zero where padded; 'padding' bool [N],
      True where a frame is padding; 'inputs_b' and 'padding_b' like them, the
      second view; and if they are drawn 'mask' bool [N], 'channel_mask' bool
      [D], True = hidden, and 'label'. Of M masks 'mask' is bool [M, N], and
      with them comes 'keep_ids' int32 [M, V]: all visible frames, then as much
      padding as makes them V.
    """
    samples, length = example["samples"], int(example["length"])
    out = self._view(samples, length, rng)
    if self.views == 2:
      second = self._view(samples, length, rng)
      out |= {f"{name}_b": value for name, value in second.items()}
    if self.mask is not None:
      out |= self.mask(rng, {"padding": out["padding"]})
    if self.channel_mask is not None:
      assert self.width is not None  # as checked
      channels = {"padding": np.zeros(self.width, bool)}  # [D]
      out["channel_mask"] = self.channel_mask(rng, channels)["mask"]
    if self.labels is not None:
      out["label"] = self.labels(example)
    return out | {k: example[k] for k in ("requested", "record")}

  def kept(self, example: Example, rng: np.random.Generator) -> float:
    """Returns the share of an utterance that a view holds, for one draw."""
    total = len(example["samples"])
    return self._size(total, int(example["length"]), rng) / total

  def _size(self, total: int, length: int, rng: np.random.Generator) -> int:
    """Returns how many of `total` samples a view holds."""
    size = min(total, length)
    if self.wave_augment is None:
      return size
    return self.wave_augment.size(rng, size, self._least)

  def _view(
    self, samples: np.ndarray, length: int, rng: np.random.Generator
  ) -> Example:
    """Returns 'inputs' float32 [length, ...] and 'padding' bool [N]."""
    size, start = self._size(len(samples), length, rng), 0
    if len(samples) > size:
      start = int(rng.integers(0, len(samples) - size, endpoint=True))
    samples = samples[start : start + size]
    if self.wave_augment is not None:
      samples = self.wave_augment(samples, rng)
    return _fit(samples, length, self.conv_layers)

  @property
  def _least(self) -> int:
    """Samples that make one frame."""
    samples = 1
    for _, kernel, stride in reversed(self.conv_layers):
      samples = (samples - 1) * stride + kernel
    return samples


@dataclasses.dataclass(frozen=True)
class RecordingEvalTransform:
  """The beginning of a recording, or all of it with padding.

  Args:
    conv_layers: (channels, kernel, stride) of the model's convolutions.
    labels: example -> label; None for no label.

  Raises:
    ValueError: wrong `conv_layers`.
  """

  conv_layers: ConvLayers = layout.CONV_LAYERS
  labels: Labels | None = None

  def __post_init__(self) -> None:
    layout.num_frames(0, self.conv_layers)  # raises when they are wrong

  def __call__(self, example: Example) -> Example:
    """Prepares one recording.

    Args:
      example: 'samples' float32 [n] or [n, C], and 'length' T in samples.

    Returns:
      'inputs' float32 [T] or [T, C], zero where padded, 'padding' bool [N],
      True where a frame is padding, and 'label' if there are labels.
    """
    length = int(example["length"])
    out = _fit(example["samples"][:length], length, self.conv_layers)
    if self.labels is not None:
      out["label"] = self.labels(example)
    return out


def _fit(samples: np.ndarray, length: int, conv_layers: ConvLayers) -> Example:
  """Returns 'inputs' float32 [length, ...] and 'padding' bool [N]."""
  total = _num_frames(length, conv_layers)
  inputs = np.zeros((length, *samples.shape[1:]), np.float32)
  inputs[: len(samples)] = samples
  frames = layout.num_frames(len(samples), conv_layers)
  return {"inputs": inputs, "padding": np.arange(total) >= frames}


def _num_frames(length: int, conv_layers: ConvLayers) -> int:
  """Returns N of batches of `length` samples, which must be at least 1."""
  total = layout.num_frames(length, conv_layers)
  if total < 1:
    raise ValueError(
      f"the convolutions make no frame of a batch's length={length} samples; "
      "raise the lengths of the buckets"
    )
  return total
