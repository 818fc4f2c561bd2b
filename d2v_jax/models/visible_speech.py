"""Speech: data2vec 2.0's encoder, which can encode the visible frames alone.

Source: data2vec 2.0 (arXiv 2212.07525) and its released code.
"""

import functools

import jax.numpy as jnp

from d2v_jax.data.layout import CONV_LAYERS, ConvLayers, WaveformInputs
from d2v_jax.models import log_mel, positions, visible
from d2v_jax.models.encoder import Encoder
from d2v_jax.models.frames import FRAME_PARTS, Frames, check_frames
from d2v_jax.models.named import named


def network(
  where: str,
  *,
  conv_layers: ConvLayers = CONV_LAYERS,
  conv_norm: str = "layer",
  conv_bias: bool = False,
  feature_grad_scale: float = 1.0,
  width: int = 768,
  prenet_depth: int = 0,
  depth: int = 12,
  num_heads: int = 12,
  mlp_ratio: float = 4.0,
  position_depth: int = 5,
  position_width: int = 95,
  position_groups: int = 16,
  isolate_padding: bool = True,
  alibi: bool = True,
  norm_eps: float = 1e-5,
  dropout: float = 0.0,
  attention_dropout: float = 0.0,
  activation_dropout: float = 0.0,
  layer_drop: float = 0.0,
  attention: str = "auto",
  remat: str = "none",
  compute_dtype: str = "float32",
) -> Encoder:
  """data2vec 2.0's speech encoder, with norms after each branch.

  Sub-trees: feature_encoder (the convolutions) and feature_projection, which
  the released recipe shares with the teacher; positions, alibi_scale,
  prenet_norm, prenet (unless prenet_depth is 0) and blocks, which it averages.

  Args:
    where: name of the constructor, for errors.
    conv_layers: (channels, kernel, stride) of each convolution.
    conv_norm: 'layer' (data2vec) or 'group' (wav2vec 2.0 Base).
    conv_bias: whether the convolutions have biases.
    feature_grad_scale: factor on the gradient that reaches the convolutions; 0
      freezes them.
    width: D.
    prenet_depth: layers before those that targets are taken from.
    depth: L, layers that targets are taken from.
    num_heads: attention heads; must divide the width.
    mlp_ratio: hidden width of the feed-forward part over D.
    position_depth: convolutions of the positions, each followed by LayerNorm
      without parameters and GELU.
    position_width: frames that they see together; each has a kernel of
      max(3, position_width // position_depth).
    position_groups: groups of channels of these convolutions.
    isolate_padding: padded frames stay 0 between the positions' convolutions,
      so that padding an utterance changes nothing. False lets them leak into
      their neighbours, as in the released code.
    alibi: attention biases that fall with distance.
    norm_eps: epsilon of the norms above the convolutions; those of and in the
      convolutions have 1e-5.
    dropout: rate for what enters the layers and for each branch.
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

  Source: data2vec 2.0's released speech code.
  """
  check_frames(
    where,
    conv_layers=conv_layers,
    conv_norm=conv_norm,
    grad_scale=feature_grad_scale,
  )
  visible.check_layers(
    where,
    width=width,
    prenet_depth=prenet_depth,
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
  module = visible.VisibleEncoder(
    features=frames,
    padding=lambda batch: batch.get("padding"),
    num_heads=num_heads,
    hidden=round(width * mlp_ratio),
    depth=depth,
    prenet_depth=prenet_depth,
    prenet_norm=True,
    norm_eps=norm_eps,
    alibi_scales=num_heads if alibi else 0,
    conv_positions=functools.partial(
      positions.ConvPositions,
      position_depth,
      max(3, position_width // position_depth),
      position_groups,
      weight_norm=False,
      compute_dtype=dtype,
      name="positions",
    ),
    isolate_padding=isolate_padding,
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
    module.sub_trees(FRAME_PARTS),
    features=frames,
    feature_parts=FRAME_PARTS,
    visible=True,
    raw_targets=functools.partial(
      log_mel.raw_targets, conv_layers=frames.conv_layers
    ),
  )


visible_speech = named(network, "visible_speech")
