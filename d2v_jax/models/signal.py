"""Signals: the networks of speech on any number of channels and any rate.

Source: ours, for what lies below the mask; above it data2vec's and data2vec
2.0's networks for speech, unchanged.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from d2v_jax.data.layout import WaveformInputs, num_frames
from d2v_jax.models import checks, speech, visible_speech
from d2v_jax.models.encoder import Batch, Encoder
from d2v_jax.models.frames import Frames
from d2v_jax.models.named import with_arguments_of
from d2v_jax.models.windows import Windows, conv_layers


def _constructor(
  network: Callable[..., Encoder], name: str
) -> Callable[..., Encoder]:
  """A constructor with the arguments of a network for speech, but for one."""

  def build(
    *, rate: float, channels: int, windows: Windows, **fields: Any
  ) -> Encoder:
    """The network of a signal.

    Args:
      rate: samples per second of the signal.
      channels: that it has.
      windows: of each convolution (channels, seconds of the signal that an
        output sees, seconds from one output to the next); see `windows`.
      **fields: all arguments of the network for speech but `conv_layers`.

    Returns:
      Encoder of `inputs` [B, T, channels], with optional `padding` [B, N] bool.

    Raises:
      ValueError: what they do not allow.
    """
    checks.at_least(name, 1, channels=channels)
    layers = conv_layers(name, rate, windows)
    return _of_channels(
      network(name, conv_layers=layers, **fields), rate, channels
    )

  return with_arguments_of(build, network, name, ("where", "conv_layers"))


def _of_channels(encoder: Encoder, rate: float, channels: int) -> Encoder:
  """An encoder of waveforms [B, T] as one of signals [B, T, channels]."""
  assert isinstance(encoder.inputs, WaveformInputs)
  assert isinstance(encoder.features, Frames)
  features = encoder.features.clone(channels=channels)
  inputs = dataclasses.replace(encoder.inputs, rate=rate, channels=channels)
  return dataclasses.replace(
    encoder,
    module=encoder.module.clone(features=features),
    inputs=inputs,
    features=features,
    raw_targets=functools.partial(raw_targets, inputs=inputs),
  )


def raw_targets(batch: Batch, *, inputs: WaveformInputs) -> jax.Array:
  """The samples that are each token's own: one hop, amid what it sees.

  Args:
    batch: with `inputs` [B, T, C].
    inputs: what the network takes.

  Returns:
    [B, N, hop * C], sample by sample.
  """
  x = batch["inputs"]
  hop, seen = inputs.hop, inputs.shortest
  starts = jnp.arange(num_frames(x.shape[1], inputs.conv_layers)) * hop
  index = starts[:, None] + (seen - hop) // 2 + jnp.arange(hop)  # [N, hop]
  own = x[:, index]  # [B, N, hop, C]
  return own.reshape(*own.shape[:2], -1)


signal = _constructor(speech.network, "signal")
visible_signal = _constructor(visible_speech.network, "visible_signal")
