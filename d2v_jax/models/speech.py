"""Speech: wav2vec 2.0's convolutions and Transformer, as data2vec uses them.

Source: data2vec section 4.2 and the released speech code; Baevski et al. 2020
(arXiv 2006.11477).
"""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from d2v_jax.data.layout import CONV_LAYERS, ConvLayers, WaveformInputs
from d2v_jax.models import log_mel, positions, transformer
from d2v_jax.models.attention.attention_bias import AttentionBias
from d2v_jax.models.encoder import Batch, Encoder, EncoderOutput, SubTrees
from d2v_jax.models.frames import FRAME_PARTS, Frames, check_frames
from d2v_jax.models.initializers import bert_init
from d2v_jax.models.layer_average import LayerAverage
from d2v_jax.models.layers import dropout, layer_norm
from d2v_jax.models.named import named


class _Speech(nn.Module):
  features: Frames
  conv_positions: Callable[[], positions.ConvPositions]
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
  attention: str
  remat: str
  compute_dtype: DTypeLike

  @nn.compact
  def __call__(
    self,
    batch: Batch,
    mask: jax.Array | None,
    features: jax.Array | None = None,
    average: LayerAverage | None = None,
  ) -> EncoderOutput:
    if features is None:
      nn.share_scope(self, self.features)
      features = self.features(batch)
    padding = batch.get("padding")  # [B, N]
    x = self._masked(features, mask, batch)  # [B, N, D]
    if padding is not None:
      x = jnp.where(padding[..., None], 0.0, x)
    x += self.conv_positions()(x, padding if self.isolate_padding else None)
    if not self.pre_norm:
      x = layer_norm(self.norm_eps, "norm")(x)
    x = dropout(self, x, self.dropout)
    x, layers, averaged = transformer.run_layers(
      x,
      jnp.zeros(self.depth),
      AttentionBias(padding=padding),
      average=average,
      padding=padding,
      attention=self.attention,
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
      kernel_init=bert_init,
      compute_dtype=self.compute_dtype,
    )
    if self.pre_norm:
      x = layer_norm(self.norm_eps, "norm")(x)
    return EncoderOutput(
      tokens=x,
      attention=layers.attention,
      ffn=layers.ffn,
      block=layers.block,
      padding=padding,
      average=averaged,
    )

  def _masked(self, x, mask, batch):
    """Frames x [B, N, D] with the mask token, and masked channels 0."""
    mask_token = self.param(
      "mask_token", nn.initializers.uniform(1.0), x.shape[-1:]
    )
    # From here on the residual stream is float32, or float64 if params are.
    x = x.astype(jnp.promote_types(x.dtype, mask_token.dtype))
    for name, array in (("mask", mask), ("padding", batch.get("padding"))):
      if array is not None and array.shape != x.shape[:2]:
        raise ValueError(
          f"{name} {array.shape} does not fit the frames "
          f"{x.shape[:2]} of samples {batch['inputs'].shape}."
        )
    if mask is None:
      return x
    x = jnp.where(mask[..., None], mask_token.astype(x.dtype), x)
    if "channel_mask" in batch:  # [B, D]
      x = jnp.where(batch["channel_mask"][:, None], 0.0, x)
    return x


def network(
  where: str,
  *,
  conv_layers: ConvLayers = CONV_LAYERS,
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
  attention: str = "auto",
  remat: str = "none",
  compute_dtype: str = "float32",
) -> Encoder:
  """data2vec's speech encoder.

  Sub-trees: feature_encoder (the convolutions), feature_projection, mask_token,
  positions, norm, blocks. The released recipe averages norm and blocks in the
  teacher and shares the rest.

  Args:
    where: name of the constructor, for errors.
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
    attention: how attention is computed: 'auto' (by the kernel of the platform,
      where there is one) or 'plain' (by the products of its definition).
    remat: what the backward pass computes again (less memory): 'none', 'dots',
      all but products and attention, or 'full', all of each layer.
    compute_dtype: dtype of matrix products, e.g. 'bfloat16'.

  Returns:
    Encoder of `inputs` [B, T] samples, with optional `padding` [B, N] bool and
    `channel_mask` [B, D] bool (channels set to 0 where a mask is applied).

  Raises:
    ValueError: for values out of range, sizes that do not divide and names that
      do not exist.

  Source: data2vec section 4.2, released speech code.
  """
  check_frames(
    where,
    conv_layers=conv_layers,
    conv_norm=conv_norm,
    grad_scale=feature_grad_scale,
  )
  transformer.check_layers(
    where,
    width=width,
    depth=depth,
    num_heads=num_heads,
    mlp_ratio=mlp_ratio,
    norm_eps=norm_eps,
    attention=attention,
    remat=remat,
    dropout=dropout,
    attention_dropout=attention_dropout,
    activation_dropout=activation_dropout,
    layer_drop=layer_drop,
  )
  positions.check_convolutions(
    where,
    width=width,
    position_depth=position_depth,
    position_width=position_width,
    position_groups=position_groups,
  )
  dtype = jnp.dtype(compute_dtype)
  frames = Frames(
    conv_layers=tuple((c, k, s) for c, k, s in conv_layers),
    conv_norm=conv_norm,
    conv_bias=conv_bias,
    grad_scale=feature_grad_scale,
    width=width,
    norm_eps=norm_eps,
    compute_dtype=dtype,
  )
  single = position_depth == 1
  kernel = max(3, position_width // position_depth)
  module = _Speech(
    frames,
    functools.partial(
      positions.ConvPositions,
      position_depth,
      position_width if single else kernel,
      position_groups,
      weight_norm=single,
      compute_dtype=dtype,
      name="positions",
    ),
    depth=depth,
    num_heads=num_heads,
    hidden=round(width * mlp_ratio),
    isolate_padding=isolate_padding,
    pre_norm=pre_norm,
    norm_eps=norm_eps,
    dropout=dropout,
    attention_dropout=attention_dropout,
    activation_dropout=activation_dropout,
    layer_drop=layer_drop,
    attention=attention,
    remat=remat,
    compute_dtype=dtype,
  )
  return Encoder(
    module,
    WaveformInputs(frames.conv_layers, width),
    SubTrees(
      bottom=(*FRAME_PARTS, "mask_token", "positions"),
      top=("norm",),
    ),
    features=frames,
    feature_parts=FRAME_PARTS,
    raw_targets=functools.partial(
      log_mel.raw_targets, conv_layers=frames.conv_layers
    ),
  )


speech = named(network, "speech")
