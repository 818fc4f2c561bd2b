"""Speech: wav2vec 2.0's convolutions and Transformer, as data2vec uses them.

Source: data2vec section 4.2 and the released speech code; Baevski et al. 2020
(arXiv 2006.11477).
"""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from d2v_jax.data.layout import CONV_LAYERS, WaveformInputs
from d2v_jax.models import transformer, visible
from d2v_jax.models.encoder import Encoder, EncoderOutput
from d2v_jax.models.initializers import torch_uniform
from d2v_jax.models.log_mel import log_mel
from d2v_jax.models.positions import ConvPositions

EXTRACTOR_NORMS = ("layer", "group")
_EPS = 1e-5


class ConvFeatures(nn.Module):
  """Waveform to frames: convolutions, each with norm and GELU.

  `norm` 'layer' normalises every layer's output over channels; 'group' only the
  first one's, each channel over time. The latter's statistics include padded
  samples, as in the reference, so it is for inputs of one length.
  """

  layers: tuple[tuple[int, int, int], ...]
  norm: str
  bias: bool
  compute_dtype: Any

  @nn.compact
  def __call__(self, audio: jax.Array) -> jax.Array:
    """Maps samples [B, T] to frames [B, N, C]."""
    x = audio[..., None]
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
      )(x)
      if self.norm == "layer":
        x = transformer.layer_norm(_EPS, f"norm{i}")(x).astype(x.dtype)
      elif i == 0:
        x = nn.GroupNorm(
          channels, epsilon=_EPS, use_fast_variance=False, name="norm0"
        )(x).astype(x.dtype)
      x = jax.nn.gelu(x, approximate=False)
    return x


class FeatureProjection(nn.Module):
  """LayerNorm of the frames and a linear map to the model's width."""

  width: int
  norm_eps: float
  compute_dtype: Any

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps [B, N, C] to [B, N, D]."""
    init = torch_uniform(x.shape[-1])
    x = transformer.layer_norm(self.norm_eps, "norm")(x)
    return nn.Dense(
      self.width,
      dtype=self.compute_dtype,
      kernel_init=init,
      bias_init=init,
      name="proj",
    )(x)


class _Frames(nn.Module):
  """Waveform [B, T] to projected frames [B, N, D]: what is below the mask."""

  conv_layers: tuple[tuple[int, int, int], ...]
  conv_norm: str
  conv_bias: bool
  grad_scale: float
  width: int
  norm_eps: float
  compute_dtype: Any

  @nn.compact
  def __call__(self, batch):
    audio = batch["inputs"]
    if audio.ndim != 2:
      raise ValueError(
        f"speech: inputs must be samples [B, T], got {audio.shape}."
      )
    x = ConvFeatures(
      self.conv_layers,
      self.conv_norm,
      self.conv_bias,
      self.compute_dtype,
      name="feature_encoder",
    )(audio)
    return FeatureProjection(
      self.width, self.norm_eps, self.compute_dtype, name="feature_projection"
    )(_scale_gradient(x, self.grad_scale))


class _Speech(nn.Module):
  frames: _Frames
  conv_positions: Callable[[], ConvPositions]
  depth: int
  num_heads: int
  hidden: int
  isolate_padding: bool
  pre_norm: bool
  norm_eps: float
  dropout: float
  attention_dropout: float
  activation_dropout: float
  layer_drop: float
  remat: bool
  compute_dtype: Any

  @nn.compact
  def __call__(self, batch, mask, features=None):
    if features is None:
      nn.share_scope(self, self.frames)
      features = self.frames(batch)
    x = features
    # From here on the residual stream is float32, or float64 if params are.
    mask_token = self.param(
      "mask_token", nn.initializers.uniform(1.0), x.shape[-1:]
    )
    x = x.astype(jnp.promote_types(x.dtype, mask_token.dtype))
    padding = batch.get("padding")
    for name, given in (("mask", mask), ("padding", padding)):
      if given is not None and given.shape != x.shape[:2]:
        raise ValueError(
          f"speech: {name} {given.shape} does not fit the frames "
          f"{x.shape[:2]} of samples {batch['inputs'].shape}."
        )
    if mask is not None:
      x = jnp.where(mask[..., None], mask_token.astype(x.dtype), x)
      if "channel_mask" in batch:
        x = jnp.where(batch["channel_mask"][:, None], 0.0, x)
    if padding is not None:
      x = jnp.where(padding[..., None], 0.0, x)
    x += self.conv_positions()(x, padding if self.isolate_padding else None)
    if not self.pre_norm:
      x = transformer.layer_norm(self.norm_eps, "norm")(x)
    x = transformer.dropout(self, x, self.dropout)
    x, layers = transformer.stacked_blocks(
      self.depth,
      remat=self.remat,
      name="blocks",
      num_heads=self.num_heads,
      hidden=self.hidden,
      pre_norm=self.pre_norm,
      key_bias=True,
      norm_eps=self.norm_eps,
      dropout=self.dropout,
      attention_dropout=self.attention_dropout,
      activation_dropout=self.activation_dropout,
      layer_drop=self.layer_drop,
      kernel_init=transformer.bert_init,
      compute_dtype=self.compute_dtype,
    )(x, jnp.zeros(self.depth), transformer.padding_bias(padding))
    if self.pre_norm:
      x = transformer.layer_norm(self.norm_eps, "norm")(x)
    return EncoderOutput(x, *layers, padding=padding)


def _scale_gradient(x, scale):
  """x, with its gradient times `scale`; 0 stops the backward pass."""
  if scale == 1:
    return x
  still = jax.lax.stop_gradient(x)
  return still + scale * (x - still) if scale else still


def speech(
  *,
  conv_layers: tuple[tuple[int, int, int], ...] = CONV_LAYERS,
  conv_norm: str = "layer",
  conv_bias: bool = False,
  feature_grad_scale: float = 1.0,
  width: int = 768,
  depth: int = 12,
  num_heads: int = 12,
  mlp_ratio: float = 4.0,
  position_depth: int = 5,
  position_width: int = 95,
  position_groups: int = 16,
  isolate_padding: bool = True,
  pre_norm: bool = False,
  norm_eps: float = 1e-5,
  dropout: float = 0.0,
  attention_dropout: float = 0.0,
  activation_dropout: float = 0.0,
  layer_drop: float = 0.0,
  prenet_depth: int | None = None,
  alibi: bool = True,
  remat: bool = False,
  compute_dtype: str = "float32",
) -> Encoder:
  """data2vec's speech encoder.

  Sub-trees: feature_encoder (the convolutions), feature_projection, mask_token,
  positions, norm, blocks. The released recipe averages norm and blocks in the
  teacher and shares the rest. With `prenet_depth` (version 2) there are
  alibi_scale, prenet_norm and, if that is not 0, prenet, but no mask_token and
  no norm, and all but the first two are averaged.

  Args:
    conv_layers: (channels, kernel, stride) of each convolution.
    conv_norm: 'layer' (data2vec) or 'group' (wav2vec 2.0 Base).
    conv_bias: whether the convolutions have biases.
    feature_grad_scale: factor on the gradient that reaches the convolutions; 0
      freezes them.
    width: D.
    depth: L.
    num_heads: attention heads; must divide the width.
    mlp_ratio: hidden width of the feed-forward part over D.
    position_depth: convolutions of the positions, each followed by LayerNorm
      without parameters and GELU; 1 is wav2vec 2.0's single weight-normed one.
    position_width: frames that they see together; each has a kernel of
      max(3, position_width // position_depth), a single one all of it.
    position_groups: groups of channels of these convolutions.
    isolate_padding: padded frames stay 0 between the positions' convolutions,
      so that padding an utterance changes nothing. False lets them leak into
      their neighbours, as in the released code.
    pre_norm: norm before each branch (wav2vec 2.0 Large) or after it.
    norm_eps: epsilon of the norms above the convolutions; those of and in the
      convolutions have 1e-5.
    dropout: rate for the encoder's input and for each branch.
    attention_dropout: rate for attention weights.
    activation_dropout: rate after the GELU of the feed-forward part.
    layer_drop: probability of skipping a layer, per update.
    prenet_depth: layers before those that targets are taken from, and before
      them a norm: the encoder of data2vec 2.0, which can encode visible frames
      alone; None is version 1.
    alibi: with prenet_depth, attention biases that fall with distance.
    remat: recompute activations in the backward pass.
    compute_dtype: dtype of matrix products, e.g. 'bfloat16'.

  Returns:
    Encoder of `inputs` [B, T] samples, with optional `padding` [B, N] bool and
    `channel_mask` [B, D] bool (channels set to 0 where a mask is applied).

  Raises:
    ValueError: for sizes that do not divide, rates and names that do not exist.

  Source: data2vec section 4.2, released speech code.
  """
  if conv_norm not in EXTRACTOR_NORMS:
    raise ValueError(
      f"speech: unknown conv_norm {conv_norm!r}; choose one of: "
      f"{', '.join(EXTRACTOR_NORMS)}."
    )
  for name, parts in (
    ("num_heads", num_heads),
    ("position_groups", position_groups),
  ):
    if width % parts:
      raise ValueError(
        f"speech: width {width} is not a multiple of {name} {parts}; change "
        "one of them."
      )
  if position_depth < 1:
    raise ValueError(
      f"speech: position_depth must be 1 or more, got {position_depth}."
    )
  transformer.check_rates(
    "speech",
    dropout=dropout,
    attention_dropout=attention_dropout,
    activation_dropout=activation_dropout,
    layer_drop=layer_drop,
  )
  frames = _Frames(
    conv_layers=tuple(tuple(layer) for layer in conv_layers),
    conv_norm=conv_norm,
    conv_bias=conv_bias,
    grad_scale=feature_grad_scale,
    width=width,
    norm_eps=norm_eps,
    compute_dtype=jnp.dtype(compute_dtype),
  )
  version_2 = visible.is_version_2("speech", prenet_depth, pre_norm)
  single = position_depth == 1 and not version_2
  kernel = max(3, position_width // position_depth)
  layers = {
    "conv_positions": functools.partial(
      ConvPositions,
      position_depth,
      position_width if single else kernel,
      position_groups,
      single,
      jnp.dtype(compute_dtype),
      name="positions",
    ),
    "isolate_padding": isolate_padding,
    "depth": depth,
    "num_heads": num_heads,
    "hidden": round(width * mlp_ratio),
    "norm_eps": norm_eps,
    "dropout": dropout,
    "attention_dropout": attention_dropout,
    "activation_dropout": activation_dropout,
    "layer_drop": layer_drop,
    "remat": remat,
    "compute_dtype": jnp.dtype(compute_dtype),
  }
  if not version_2:
    module = _Speech(frames, pre_norm=pre_norm, **layers)
  else:
    module = visible.VisibleEncoder(
      features=frames,
      padding=lambda batch: batch.get("padding"),
      prenet_depth=prenet_depth,
      prenet_norm=True,
      alibi_scales=num_heads if alibi else 0,
      **layers,
    )
  return Encoder(
    module,
    WaveformInputs(frames.conv_layers, width),
    features=frames,
    feature_parts=("feature_encoder", "feature_projection"),
    visible=version_2,
    raw_targets=functools.partial(_log_mel, conv_layers=frames.conv_layers),
  )


def _log_mel(batch, conv_layers):
  return log_mel(batch["inputs"], batch.get("padding"), conv_layers)
