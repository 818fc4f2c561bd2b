"""Vision: data2vec 2.0's ViT, which can encode the visible patches alone.

Source: data2vec 2.0 (arXiv 2212.07525) and its released code.
"""

import functools
import math

import jax.numpy as jnp

from d2v_jax.data.layout import ImageInputs
from d2v_jax.models import patches, positions, visible
from d2v_jax.models.encoder import Encoder


def visible_vit(
  *,
  image_size: int | tuple[int, int] = 224,
  patch_size: int = 16,
  width: int = 768,
  prenet_depth: int = 0,
  depth: int = 12,
  num_heads: int = 12,
  mlp_ratio: float = 4.0,
  cls_token: bool = True,
  alibi: bool = False,
  norm_eps: float = 1e-6,
  drop_path: float = 0.0,
  attention_dropout: float = 0.0,
  mean: patches.Channels = patches.MEAN,
  std: patches.Channels = patches.STD,
  attention: str = "auto",
  remat: str = "none",
  compute_dtype: str = "float32",
) -> Encoder:
  """data2vec 2.0's ViT: fixed sine-cosine positions, norms after each branch.

  Args:
    image_size: side of a square input, or (height, width), pixels; multiples of
      patch_size.
    patch_size: side of a patch, pixels.
    width: D; a multiple of 4.
    prenet_depth: layers before those that targets are taken from.
    depth: L, layers that targets are taken from.
    num_heads: attention heads; must divide the width.
    mlp_ratio: hidden width of the feed-forward part over D.
    cls_token: prepend a CLS token; it is never masked.
    alibi: attention biases that fall with distance.
    norm_eps: epsilon of the model's norms.
    drop_path: rate of the last layer, see `visible.drop_path_rates`.
    attention_dropout: dropout rate of attention weights.
    mean: per-channel mean subtracted from uint8 images scaled to [0, 1].
    std: per-channel std that they are divided by.
    attention: how attention is computed: 'auto' (by the kernel of the platform,
      where there is one) or 'plain' (by the products of its definition).
    remat: what the backward pass computes again (less memory): 'none', 'dots',
      all but products and attention, or 'full', all of each layer.
    compute_dtype: dtype of matrix products, e.g. 'bfloat16'.

  Returns:
    Encoder with tokens [B, N, width] of N patches, or of visible
    ones alone.

  Raises:
    ValueError: for values out of range and sizes that do not divide.

  Source: data2vec 2.0's released vision code.
  """
  mean, std = tuple(mean), tuple(std)
  patches.check_images(
    "visible_vit",
    image_size=image_size,
    patch_size=patch_size,
    mean=mean,
    std=std,
  )
  visible.check_layers(
    "visible_vit",
    width=width,
    prenet_depth=prenet_depth,
    depth=depth,
    num_heads=num_heads,
    mlp_ratio=mlp_ratio,
    norm_eps=norm_eps,
    attention=attention,
    remat=remat,
    drop_path=drop_path,
    attention_dropout=attention_dropout,
  )
  positions.check_sincos("visible_vit", width)
  inputs = ImageInputs(image_size, patch_size)
  tokens = patches.PatchesWithPositions(
    inputs, width, mean, std, jnp.dtype(compute_dtype)
  )
  module = visible.VisibleEncoder(
    features=tokens,
    padding=lambda batch: batch.get("padding"),
    num_heads=num_heads,
    hidden=math.floor(width * mlp_ratio),
    depth=depth,
    prenet_depth=prenet_depth,
    prenet_norm=True,
    norm_eps=norm_eps,
    extra_tokens=int(cls_token),
    alibi_scales=num_heads if alibi else 0,
    grid=inputs.grid,
    attention_dropout=attention_dropout,
    drop_path=drop_path,
    attention=attention,
    remat=remat,
    compute_dtype=jnp.dtype(compute_dtype),
  )
  parts = ("feature_encoder",)
  return Encoder(
    module,
    inputs,
    module.sub_trees(parts),
    features=tokens,
    feature_parts=parts,
    prepare=functools.partial(patches.prepare, mean=mean, std=std),
    visible=True,
    raw_targets=functools.partial(
      patches.raw_targets, patch_size=patch_size, mean=mean, std=std
    ),
  )
