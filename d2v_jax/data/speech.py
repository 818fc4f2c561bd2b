"""Crop, padding and masks of utterances of a batch's length."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from d2v_jax.data import layout
from d2v_jax.data.layout import ConvLayers

Example = dict[str, Any]
Mask = Callable[[np.random.Generator, int, int], np.ndarray]
Labels = Callable[[Example], np.ndarray]


@dataclasses.dataclass(frozen=True)
class TrainTransform:
  """Random crop or padding, and the masks, for one utterance.

  Args:
    conv_layers: (channels, kernel, stride) of the model's convolutions, which
      make N frames of T samples.
    mask: draws the hidden frames, (rng, real frames, N) -> bool [N]; None for
      no mask.
    channel_mask: draws the channels set to zero, (rng, D, D) -> bool [D]; None
      for none.
    width: the model's number of channels D; for `channel_mask`.
    labels: example -> label; None for no label.

  Raises:
    ValueError: `channel_mask` without `width` or `mask`, or wrong
      `conv_layers`.

  Source: data2vec (arXiv 2202.03555) section 4.2 and its code, which crops each
  batch to its shortest utterance. Batches here have one of a few lengths, so
  that shorter utterances are padded and the padding is handed on.
  """

  conv_layers: ConvLayers = layout.CONV_LAYERS
  mask: Mask | None = None
  channel_mask: Mask | None = None
  width: int | None = None
  labels: Labels | None = None

  def __post_init__(self):
    layout.num_frames(0, self.conv_layers)  # raises when they are wrong
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

  def __call__(self, example: Example, rng: np.random.Generator) -> Example:
    """Prepares one utterance.

    Args:
      example: 'audio' float32 [n], 'length' T in samples; 'requested' and
        'record' are handed on.
      rng: the only source of randomness.

    Returns:
      'inputs' float32 [T], zero where padded, 'padding' bool [N], True = not
      real, and if they are drawn 'mask' bool [N], 'channel_mask' bool [D],
      True = hidden, and 'label'.
    """
    samples, length = example["audio"], int(example["length"])
    start = 0
    if len(samples) > length:
      start = int(rng.integers(0, len(samples) - length, endpoint=True))
    out = _fit(samples[start : start + length], length, self.conv_layers)
    if self.mask is not None:
      padding = out["padding"]
      real = len(padding) - int(padding.sum())
      out["mask"] = self.mask(rng, real, len(padding))
    if self.channel_mask is not None:
      out["channel_mask"] = self.channel_mask(rng, self.width, self.width)
    if self.labels is not None:
      out["label"] = self.labels(example)
    return out | {k: example[k] for k in ("requested", "record")}


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
