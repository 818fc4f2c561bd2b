"""Samples as frames: wav2vec 2.0's convolutions and the map that follows.

Source: Baevski et al. 2020 (arXiv 2006.11477) and the released speech code.
"""

import flax.linen as nn
import jax
from jax.typing import DTypeLike

from d2v_jax.data.layout import ConvLayers
from d2v_jax.models import checks
from d2v_jax.models.encoder import Batch
from d2v_jax.models.initializers import torch_uniform
from d2v_jax.models.layers import gelu, layer_norm
from d2v_jax.models.linear import Linear

NORMS = ("layer", "group")
# Top-level sub-trees of `Frames`.
FRAME_PARTS = ("feature_encoder", "feature_projection")
_EPS = 1e-5


class ConvFeatures(nn.Module):
  """Samples to frames: convolutions, each with norm and GELU.

  `norm` 'layer' normalises every layer's output over channels; 'group' only the
  first one's, each channel over time. The latter's statistics include padded
  samples, as in the reference, so it is for inputs of one length.
  """

  layers: ConvLayers
  norm: str
  bias: bool
  compute_dtype: DTypeLike

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps samples of S channels [B, T, S] to frames [B, N, C]."""
    for i, (channels, kernel, stride) in enumerate(self.layers):
      x = nn.Conv(
        channels,
        (kernel,),
        (stride,),
        padding="VALID",
        use_bias=self.bias,
        dtype=self.compute_dtype,
        kernel_init=nn.initializers.variance_scaling(2.0, "fan_in", "normal"),
        bias_init=torch_uniform(kernel * x.shape[-1]),
        name=f"conv{i}",
      )(x)  # [B, (T - kernel) // stride + 1, channels]
      if self.norm == "layer":
        x = layer_norm(_EPS, f"norm{i}", x.dtype)(x).astype(x.dtype)
      elif i == 0:
        # As many groups as channels: statistics over time alone.
        x = nn.GroupNorm(
          channels, epsilon=_EPS, use_fast_variance=False, name="norm0"
        )(x).astype(x.dtype)
      x = gelu(x)
    return x


class FeatureProjection(nn.Module):
  """LayerNorm of the frames and a linear map to the model's width."""

  width: int
  norm_eps: float
  compute_dtype: DTypeLike

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps [B, N, C] to [B, N, D]."""
    init = torch_uniform(x.shape[-1])
    x = layer_norm(self.norm_eps, "norm")(x)
    return Linear(
      self.width,
      init,
      bias_init=init,
      compute_dtype=self.compute_dtype,
      name="proj",
    )(x)


class Frames(nn.Module):
  """Samples to projected frames [B, N, D]: what is below the mask.

  They are those of a waveform [B, T], or of `channels` [B, T, channels].
  """

  conv_layers: ConvLayers
  conv_norm: str
  conv_bias: bool
  grad_scale: float
  width: int
  norm_eps: float
  compute_dtype: DTypeLike
  channels: int | None = None

  @nn.compact
  def __call__(self, batch: Batch) -> jax.Array:
    """Maps `inputs` [B, T] or [B, T, channels] to frames [B, N, D]."""
    samples = batch["inputs"]
    if self.channels is None and samples.ndim != 2:
      raise ValueError(
        f"speech: inputs must be samples [B, T], got {samples.shape}."
      )
    if self.channels is None:
      samples = samples[..., None]
    elif samples.ndim != 3 or samples.shape[2] != self.channels:
      raise ValueError(
        f"signal: inputs must be samples [B, T, {self.channels}], got "
        f"{samples.shape}."
      )
    x = ConvFeatures(
      self.conv_layers,
      self.conv_norm,
      self.conv_bias,
      self.compute_dtype,
      name="feature_encoder",
    )(samples)  # [B, N, C]
    return FeatureProjection(
      self.width, self.norm_eps, self.compute_dtype, name="feature_projection"
    )(_scale_gradient(x, self.grad_scale))


def _scale_gradient(x, scale):
  """x, with its gradient times `scale`; 0 stops the backward pass."""
  if scale == 1:
    return x
  constant = jax.lax.stop_gradient(x)
  return constant + scale * (x - constant) if scale else constant


def check_frames(
  where: str, *, conv_layers: ConvLayers, conv_norm: str, grad_scale: float
) -> None:
  """Checks the arguments that networks for waveforms have.

  Args:
    where: the constructor, for errors.
    conv_layers: (channels, kernel, stride) of each convolution.
    conv_norm: norm of the convolutions.
    grad_scale: factor on their gradient.

  Raises:
    ValueError: names the constructor, the argument and its value.
  """
  if not conv_layers:
    raise ValueError(
      f"{where}: conv_layers must have at least one (channels, kernel, stride)."
    )
  for layer in conv_layers:
    if len(layer) != 3 or min(layer) < 1:
      raise ValueError(
        f"{where}: each of conv_layers must be (channels, kernel, stride), all "
        f"1 or more, got {layer}."
      )
  checks.choice(where, NORMS, conv_norm=conv_norm)
  checks.at_least(where, 0, feature_grad_scale=grad_scale)
