"""Log-mel frames of a waveform, one for each token that convolutions make.

What masked regression of the raw input regresses for speech, where samples
themselves would be mostly phase.
"""

import jax
import jax.numpy as jnp
import numpy as np

from d2v_jax.data import mel
from d2v_jax.data.layout import ConvLayers
from d2v_jax.models.encoder import Batch
from d2v_jax.models.plain_norms import instance_norm

NUM_BANDS = 80


def raw_targets(batch: Batch, *, conv_layers: ConvLayers) -> jax.Array:
  """Log-mel frames [B, N, 80] of a batch's tokens, see `log_mel`."""
  return log_mel(batch["inputs"], batch.get("padding"), conv_layers)


def log_mel(
  audio: jax.Array, padding: jax.Array | None, conv_layers: ConvLayers
) -> jax.Array:
  """Log-mel frames of the tokens, see `frames`, normalised over the utterance.

  Args:
    audio: [B, T] samples at 16 kHz, 0 where padded.
    padding: [B, N] bool, True where the token is padding, or None.
    conv_layers: (channels, kernel, stride) of each convolution.

  Returns:
    [B, N, 80] float32 (float64 if the audio is). Each band has mean 0 and
    variance 1 over the tokens of an utterance that are not padding.

  Raises:
    ValueError: the convolutions make no token of T samples.
  """
  return instance_norm(frames(audio, conv_layers), padding)


def frames(audio: jax.Array, conv_layers: ConvLayers) -> jax.Array:
  """Log-mel frames of the tokens.

  A token stands for one stride of the convolutions around the middle of what
  they see. Its frame is the mean of the windows of 25 ms that are spread evenly
  over this stride, as many as make a hop of nearly 10 ms: two for tokens of
  20 ms. Outside of the audio there is silence.

  Args:
    audio: [B, T] samples at 16 kHz, 0 where padded.
    conv_layers: (channels, kernel, stride) of each convolution.

  Returns:
    [B, N, 80] float32 (float64 if the audio is).

  Raises:
    ValueError: the convolutions make no token of T samples.

  Source: ours. Windows, bands and the logarithm are those of `data.mel`.
  """
  starts, parts = window_starts(audio.shape[1], conv_layers)
  before = max(0, -starts.min())
  after = max(0, starts.max() + mel.WINDOW - audio.shape[1])
  audio = jnp.pad(audio, ((0, 0), (before, after)))
  # [B, N * parts, mel.WINDOW]
  windows = audio[:, (starts + before)[:, None] + jnp.arange(mel.WINDOW)]
  windows *= mel.hann().astype(windows.dtype)
  spectrum = jnp.fft.rfft(windows, mel.FFT_SIZE)
  power = spectrum.real**2 + spectrum.imag**2  # [B, N * parts, frequencies]
  bands = jnp.matmul(
    power, mel.bands(NUM_BANDS).astype(power.dtype), precision="highest"
  )
  values = jnp.log(bands + mel.FLOOR)
  return values.reshape(len(audio), -1, parts, NUM_BANDS).mean(2)


def window_starts(
  samples: int, conv_layers: ConvLayers
) -> tuple[np.ndarray, int]:
  """First samples of the windows of all tokens, and how many a token has.

  Args:
    samples: T.
    conv_layers: (channels, kernel, stride) of each convolution.

  Returns:
    int [N * parts], where those of the first and last tokens may lie outside of
    the audio; and parts.

  Raises:
    ValueError: the convolutions make no token of T samples.
  """
  # Of the tokens so far: their number, distance, and samples each one sees.
  number, stride, seen = samples, 1, 1
  for _, kernel, step in conv_layers:
    number = (number - kernel) // step + 1
    seen += (kernel - 1) * stride
    stride *= step
  if number < 1:
    raise ValueError(
      f"log_mel: conv_layers make no token of {samples} samples; they need "
      f"{seen}."
    )
  parts = max(1, round(stride / mel.HOP))
  centres = np.arange(number)[:, None] * stride + (seen - 1) / 2
  centres = centres + ((np.arange(parts) + 0.5) / parts - 0.5) * stride
  starts = np.floor(centres - (mel.WINDOW - 1) / 2 + 0.5).astype(int)
  return starts.ravel(), parts
