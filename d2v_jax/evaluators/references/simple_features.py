"""Features that nobody has to learn, read as those of a network are."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from d2v_jax.data.layout import (
  ImageInputs,
  SpectrogramInputs,
  TokenInputs,
  WaveformInputs,
)
from d2v_jax.evaluators.pooling import Grid
from d2v_jax.models import log_mel
from d2v_jax.models.encoder import Batch, Encoder, EncoderOutput

# Larger images are made as large as this, as far as their shape allows.
_SIDE = 32
# How frames in time are usually read; a probe chooses.
_IN_TIME = ("mean_std", "segments:8")

Encode = Callable[[Any, Batch], EncoderOutput]


@dataclasses.dataclass(frozen=True)
class SimpleFeatures:
  """One kind of them, in place of a network.

  Attributes:
    name: such as `pixels`; those pooled as the network's are end in `_pooled`.
    encode: (params, batch) -> tokens [B, N, P], without layers; of parameters
      nothing is asked.
    grid: (H, W) of the tokens; () for tokens in time.
    pools: how such features are usually pooled, of which a probe chooses; None:
      in the way that the network's are.
  """

  name: str
  encode: Encode
  grid: Grid = ()
  pools: tuple[str, ...] | None = None


def simple_features(encoder: Encoder) -> tuple[SimpleFeatures, ...]:
  """The simple features of what a network takes.

  Of images these are pixels, all of an image of at most 32 x 32 (larger ones
  are made smaller), or those of each patch, pooled; of speech log-mel values of
  each token; of spectrograms those of each frame, or of each patch, pooled; of
  signals mean and standard deviation of each channel over each token.

  Args:
    encoder: the network.

  Returns:
    First those that are read as is usual, then those read as the network's; ()
    for text, which has no numbers.
  """
  inputs = encoder.inputs
  if isinstance(inputs, TokenInputs):
    return ()
  if isinstance(inputs, WaveformInputs):
    name = "log_mel" if inputs.channels is None else "channels"
    tokens = _log_mel(inputs) if inputs.channels is None else _channels(encoder)
    return (
      SimpleFeatures(name, tokens, pools=_IN_TIME),
      SimpleFeatures(f"{name}_pooled", tokens),
    )
  pooled = _without_layers(lambda batch: _raw(encoder, batch))
  if isinstance(inputs, SpectrogramInputs):
    return (
      SimpleFeatures("log_mel", _frames(inputs), pools=_IN_TIME),
      SimpleFeatures("log_mel_pooled", pooled, inputs.grid),
    )
  whole = _without_layers(lambda batch: _pixels(encoder, inputs, batch))
  return (
    SimpleFeatures("pixels", whole, pools=("mean",)),
    SimpleFeatures("pixels_pooled", pooled, inputs.grid),
  )


def _without_layers(tokens: Callable[[Batch], jax.Array]) -> Encode:
  """What a network of no layers makes of (batch) -> [B, N, P]."""

  def encode(params: Any, batch: Batch) -> EncoderOutput:
    del params
    x = tokens(batch)
    none = jnp.zeros((0, *x.shape), x.dtype)
    return EncoderOutput(x, none, none, none, padding=batch.get("padding"))

  return encode


def _frames(inputs: SpectrogramInputs) -> Encode:
  """The frames of a spectrogram as tokens in time: [B, frames, bands]."""
  encode = _without_layers(lambda batch: batch["inputs"][..., 0])

  def with_silence(params: Any, batch: Batch) -> EncoderOutput:
    output = encode(params, batch)
    if output.padding is None:
      return output
    rows = output.padding.reshape(len(output.tokens), *inputs.grid)[..., 0]
    frames = jnp.repeat(rows, inputs.patch_size, 1)
    return output._replace(padding=frames)

  return with_silence


def _raw(encoder: Encoder, batch: Batch) -> jax.Array:
  assert encoder.raw_targets is not None  # all have them but text
  return encoder.raw_targets(batch)


def _pixels(encoder: Encoder, inputs: ImageInputs, batch: Batch) -> jax.Array:
  """All pixels of an image as its only token: [B, 1, H * W * C]."""
  images = encoder.prepare(batch)["inputs"].astype(jnp.float32)
  scale = min(1.0, _SIDE / max(inputs.size))
  height, width = (max(1, round(side * scale)) for side in inputs.size)
  count, *size, channels = images.shape
  if size != [height, width]:
    shape = count, height, width, channels
    images = jax.image.resize(images, shape, "linear", antialias=True)
  return images.reshape(count, 1, -1)


def _log_mel(inputs: WaveformInputs) -> Encode:
  """Log-mel values of the frames of speech [B, N, 80], as loud as they are."""
  return _without_layers(
    lambda batch: log_mel.frames(batch["inputs"], inputs.conv_layers)
  )


def _channels(encoder: Encoder) -> Encode:
  """Mean and standard deviation of C channels over each token [B, N, 2 C]."""
  inputs = encoder.inputs
  assert isinstance(inputs, WaveformInputs)

  def tokens(batch: Batch) -> jax.Array:
    raw = _raw(encoder, batch)  # [B, N, hop * C]
    x = raw.reshape(*raw.shape[:2], -1, inputs.channels)
    return jnp.concatenate([x.mean(2), x.std(2)], -1)

  return _without_layers(tokens)
