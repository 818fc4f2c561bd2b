"""Crop, padding and masks of utterances of a batch's length."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from d2v_jax.data import layout
from d2v_jax.data.layout import ConvLayers
from d2v_jax.data.masks.blocks import keep_ids
from d2v_jax.data.masks.speech import BlockMasks
from d2v_jax.data.sections import built
from d2v_jax.data.speech.augment import WaveAugment

Example = dict[str, Any]
Mask = Callable[[np.random.Generator, int, int], np.ndarray]
Labels = Callable[[Example], np.ndarray]


@dataclasses.dataclass(frozen=True)
class TrainTransform:
  """Random crop or padding, changes of sound, and masks of one utterance.

  Args:
    conv_layers: (channels, kernel, stride) of the model's convolutions, which
      make N frames of T samples.
    mask: draws the hidden frames, (rng, real frames, N) -> bool [N], or of M
      masks [M, N]; None for no mask.
    channel_mask: draws the channels set to zero, (rng, D, D) -> bool [D]; None
      for none.
    width: the model's number of channels D; for `channel_mask`.
    labels: example -> label; None for no label.
    wave_augment: WaveAugment, or its arguments; None leaves the sound as it is.
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

  def __post_init__(self):
    layout.num_frames(0, self.conv_layers)  # raises when they are wrong
    if self.views not in (1, 2):
      raise ValueError(
        f"TrainTransform: views must be 1 or 2, got {self.views}"
      )
    if self.wave_augment is not None:
      # A config has a dict of its arguments.
      wave_augment = built(WaveAugment, self.wave_augment)
      object.__setattr__(self, "wave_augment", wave_augment)
    if isinstance(self.channel_mask, BlockMasks):
      raise ValueError(
        "TrainTransform: channel_mask hides one set of channels, not several; "
        "use the mask 'span'"
      )
    if self.channel_mask is not None and isinstance(self.mask, BlockMasks):
      raise ValueError(
        "TrainTransform: channel_mask goes with one mask of an utterance, not "
        "with several; leave it out"
      )
    if self.channel_mask is not None and self.mask is None:
      raise ValueError(
        "TrainTransform: channel_mask hides channels beside hidden frames; "
        "set config.data.mask too, with a small prob, or leave it out"
      )
    if self.channel_mask is not None and (self.width is None or self.width < 1):
      raise ValueError(
        "TrainTransform: channel_mask needs the model's width, got "
        f"width={self.width}"
      )

  def check_length(self, length: int) -> None:
    """Raises ValueError where batches of `length` samples cannot be masked."""
    if isinstance(self.mask, BlockMasks):
      self.mask.num_visible(layout.num_frames(length, self.conv_layers))

  def __call__(self, example: Example, rng: np.random.Generator) -> Example:
    """Prepares one utterance.

    Args:
      example: 'audio' float32 [n], 'length' T in samples; 'requested' and
        'record' are handed on.
      rng: the only source of randomness.

    Returns:
      'inputs' float32 [T], zero where padded, 'padding' bool [N], True = not
      real; 'inputs_b' and 'padding_b' like them, the second view; and if they
      are drawn 'mask' bool [N], 'channel_mask' bool [D], True = hidden, and
      'label'. Of M masks 'mask' is bool [M, N], and with them comes 'keep_ids'
      int32 [M, V]: the visible frames, all the real ones, then as much padding
      as makes them V.
    """
    samples, length = example["audio"], int(example["length"])
    out = self._view(samples, length, rng)
    if self.views == 2:
      second = self._view(samples, length, rng)
      out |= {f"{name}_b": value for name, value in second.items()}
    if self.mask is not None:
      total = len(out["padding"])
      real = total - int(out["padding"].sum())
      out["mask"] = self.mask(rng, real, total)
      if isinstance(self.mask, BlockMasks):
        out["keep_ids"] = keep_ids(out["mask"], self.mask.num_visible(total))
    if self.channel_mask is not None:
      out["channel_mask"] = self.channel_mask(rng, self.width, self.width)
    if self.labels is not None:
      out["label"] = self.labels(example)
    return out | {k: example[k] for k in ("requested", "record")}

  def _view(
    self, samples: np.ndarray, length: int, rng: np.random.Generator
  ) -> Example:
    """Returns 'inputs' float32 [length] and 'padding' bool [N]."""
    size, start = min(len(samples), length), 0
    if self.wave_augment is not None:
      size = self.wave_augment.size(rng, size, self._least)
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
class EvalTransform:
  """The beginning of an utterance, or all of it with padding.

  Args:
    conv_layers: (channels, kernel, stride) of the model's convolutions.
    labels: example -> label; None for no label.

  Raises:
    ValueError: wrong `conv_layers`.
  """

  conv_layers: ConvLayers = layout.CONV_LAYERS
  labels: Labels | None = None

  def __post_init__(self):
    layout.num_frames(0, self.conv_layers)  # raises when they are wrong

  def __call__(self, example: Example) -> Example:
    """Prepares one utterance.

    Args:
      example: 'audio' float32 [n] and 'length' T in samples.

    Returns:
      'inputs' float32 [T], zero where padded, 'padding' bool [N], True = not
      real, and 'label' if there are labels.
    """
    length = int(example["length"])
    out = _fit(example["audio"][:length], length, self.conv_layers)
    if self.labels is not None:
      out["label"] = self.labels(example)
    return out


def _fit(samples: np.ndarray, length: int, conv_layers: ConvLayers) -> Example:
  """Returns 'inputs' float32 [length] and 'padding' bool [N]."""
  total = layout.num_frames(length, conv_layers)
  if total < 1:
    raise ValueError(
      f"speech: conv_layers make no frame of a batch's length={length} "
      "samples; raise the lengths of the buckets"
    )
  inputs = np.zeros(length, np.float32)
  inputs[: len(samples)] = samples
  real = layout.num_frames(len(samples), conv_layers)
  return {"inputs": inputs, "padding": np.arange(total) >= real}
