"""Vision: the BEiT-style ViT of data2vec.

Source: data2vec section 4.1 and the released vision code; Bao et al. 2021
(arXiv 2106.08254).
"""

import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from d2v_jax.data.layout import ImageInputs
from d2v_jax.models import checks, patches, resizing, transformer
from d2v_jax.models import positions as positions_lib
from d2v_jax.models.attention.attention_bias import AttentionBias
from d2v_jax.models.encoder import (
  Batch,
  Encoder,
  EncoderOutput,
  Params,
  SubTrees,
  there,
)
from d2v_jax.models.initializers import beit_init
from d2v_jax.models.layer_average import LayerAverage
from d2v_jax.models.layers import layer_norm

POSITIONS = ("relative", "relative_layers", "absolute", "sincos")


class _Vit(nn.Module):
  inputs: ImageInputs
  width: int
  depth: int
  num_heads: int
  hidden: int
  mean: patches.Channels
  std: patches.Channels
  positions: str
  cls_token: bool
  pre_norm: bool
  final_norm: bool
  layer_scale: float
  norm_eps: float
  drop_path: float
  attention_dropout: float
  attention: str
  remat: str
  compute_dtype: DTypeLike

  @nn.compact
  def __call__(
    self,
    batch: Batch,
    mask: jax.Array | None,
    average: LayerAverage | None = None,
  ) -> EncoderOutput:
    images = batch["inputs"]  # [B, H, W, C]
    patches.check_size(images, self.inputs)
    x = patches.PatchEmbed(
      self.inputs.patch_size,
      self.width,
      self.compute_dtype,
      name="feature_encoder",
    )(patches.normalise(images, self.mean, self.std))  # [B, N, D]
    x = self._masked(x, mask)
    padding = batch.get("padding")  # [B, N], of spectrograms
    x = self._with_cls_and_positions(x)  # [B, 1 + N, D], or without CLS
    relative = functools.partial(
      positions_lib.RelativePositionBias,
      self.inputs.grid,
      self.num_heads,
      self.cls_token,
      name="relative_position_bias",
    )
    bias = AttentionBias()
    if self.positions == "relative":
      bias = AttentionBias(pairs=relative()())  # [heads, 1 + N, 1 + N]
    if not self.pre_norm:
      x = layer_norm(self.norm_eps, "norm")(x)
    prefix = int(self.cls_token)
    if padding is not None:
      keys = jnp.pad(padding, ((0, 0), (prefix, 0)))
      bias = bias._replace(padding=keys)
    x, layers, averaged = transformer.run_layers(
      x,
      jnp.linspace(0.0, self.drop_path, self.depth),
      bias,
      average=average,
      prefix=prefix,
      padding=padding,
      attention=self.attention,
      remat=self.remat,
      name="blocks",
      num_heads=self.num_heads,
      hidden=self.hidden,
      pre_norm=self.pre_norm,
      layer_scale=self.layer_scale,
      norm_eps=self.norm_eps,
      attention_dropout=self.attention_dropout,
      drop_path=self.drop_path > 0,
      layer_bias=relative if self.positions == "relative_layers" else None,
      compute_dtype=self.compute_dtype,
    )
    if self.pre_norm and self.final_norm:
      x = layer_norm(self.norm_eps, "norm")(x)
    return EncoderOutput(
      tokens=x[:, prefix:],
      attention=layers.attention[:, :, prefix:],
      ffn=layers.ffn[:, :, prefix:],
      block=layers.block[:, :, prefix:],
      cls=x[:, 0] if prefix else None,
      block_cls=layers.block[:, :, 0] if prefix else None,
      padding=padding,
      average=averaged,
    )

  def _masked(self, x, mask):
    """Tokens x [B, N, D] with the mask token where mask [B, N] is True."""
    mask_token = self.param("mask_token", beit_init, (1, 1, self.width))
    # From here on the residual stream is float32, or float64 if params are.
    x = x.astype(jnp.promote_types(x.dtype, mask_token.dtype))
    if mask is None:
      return x
    if mask.shape != x.shape[:2]:
      raise ValueError(
        f"vit: mask {mask.shape} does not fit tokens {x.shape[:2]}."
      )
    return jnp.where(mask[..., None], mask_token.astype(x.dtype), x)

  def _with_cls_and_positions(self, x):
    """Tokens x [B, N, D] with positions, behind the CLS token if it is used."""
    if self.positions == "sincos":
      x += positions_lib.sincos_positions(self.inputs.grid, self.width)
    if self.cls_token:
      cls = self.param("cls_token", beit_init, (1, 1, self.width))
      cls = jnp.broadcast_to(cls, (x.shape[0], 1, self.width))
      x = jnp.concatenate([cls.astype(x.dtype), x], axis=1)  # [B, 1 + N, D]
    if self.positions == "absolute":
      x += self.param("position_embedding", beit_init, (1, *x.shape[1:]))
    return x


def _rescale(params: Params) -> Params:
  """Divides both branches' last products in layer l = 1..L by sqrt(2 l)."""
  depth = params["blocks"]["attention"]["out"]["kernel"].shape[0]
  scale = (2.0 * np.arange(1, depth + 1)) ** -0.5
  scale = scale[:, None, None].astype(np.float32)  # [L, 1, 1]
  blocks = dict(params["blocks"])
  for module, layer in (("attention", "out"), ("mlp", "fc2")):
    dense = blocks[module][layer]
    dense = {**dense, "kernel": dense["kernel"] * scale}
    blocks[module] = {**blocks[module], layer: dense}
  return {**params, "blocks": blocks}


def _sub_trees(module: _Vit) -> SubTrees:
  bottom = {
    "feature_encoder": True,
    "mask_token": True,
    "cls_token": module.cls_token,
    "position_embedding": module.positions == "absolute",
  }
  top = {
    "relative_position_bias": module.positions == "relative",
    "norm": module.final_norm or not module.pre_norm,
  }
  return SubTrees(bottom=there(bottom), top=there(top))


def vit(
  *,
  image_size: int | tuple[int, int] = 224,
  patch_size: int = 16,
  width: int = 768,
  depth: int = 12,
  num_heads: int = 12,
  mlp_ratio: float = 4.0,
  positions: str = "relative",
  cls_token: bool = True,
  pre_norm: bool = True,
  final_norm: bool = True,
  layer_scale: float = 1e-4,
  norm_eps: float = 1e-6,
  drop_path: float = 0.0,
  attention_dropout: float = 0.0,
  mean: patches.Channels = patches.MEAN,
  std: patches.Channels = patches.STD,
  attention: str = "auto",
  remat: str = "none",
  compute_dtype: str = "float32",
) -> Encoder:
  """The BEiT-style ViT of data2vec.

  Args:
    image_size: side of a square input, or (height, width), pixels; multiples of
      patch_size.
    patch_size: side of a patch, pixels.
    width: D.
    depth: L.
    num_heads: attention heads; must divide the width.
    mlp_ratio: hidden width of the feed-forward part over D.
    positions: 'relative' (bias shared by all layers, the paper's),
      'relative_layers' (one for each layer), 'absolute' (learned) or 'sincos'
      (fixed).
    cls_token: prepend a CLS token; it is never masked and has no loss.
    pre_norm: norm before (the paper's ViT) or after each branch.
    final_norm: with pre_norm, norm after the last layer. The released
      fine-tuning has none: there the head normalises what it has pooled.
    layer_scale: initial scale of each branch; 0 leaves the scale out.
    norm_eps: epsilon of the model's norms.
    drop_path: rate of the last layer; grows linearly from 0 in the first.
    attention_dropout: dropout rate of attention weights.
    mean: per-channel mean subtracted from uint8 images scaled to [0, 1].
    std: per-channel std that they are divided by.
    attention: how attention is computed: 'auto' (by the kernel of the platform,
      where there is one) or 'plain' (by the products of its definition).
    remat: what the backward pass computes again (less memory): 'none', 'dots',
      all but products and attention, or 'full', all of each layer.
    compute_dtype: dtype of matrix products, e.g. 'bfloat16'.

  Returns:
    Encoder with tokens [B, N, width] of N patches. Its `resize`
    interpolates learned positions, 'absolute' and relative ones, from another
    square grid of patches.

  Raises:
    ValueError: for values out of range, sizes that do not divide, unknown
      names, and final_norm=False without pre_norm.

  Source: data2vec section 4.1; released vision code for biases, layer scale and
  initial values.
  """
  mean, std = tuple(mean), tuple(std)
  patches.check_images(
    "vit", image_size=image_size, patch_size=patch_size, mean=mean, std=std
  )
  transformer.check_layers(
    "vit",
    width=width,
    depth=depth,
    num_heads=num_heads,
    mlp_ratio=mlp_ratio,
    norm_eps=norm_eps,
    attention=attention,
    remat=remat,
    drop_path=drop_path,
    attention_dropout=attention_dropout,
  )
  checks.at_least("vit", 0, layer_scale=layer_scale)
  checks.choice("vit", POSITIONS, positions=positions)
  if positions == "sincos":
    positions_lib.check_sincos("vit", width)
  if not (final_norm or pre_norm):
    raise ValueError(
      "vit: final_norm=False needs pre_norm=True, since with pre_norm=False "
      "each layer ends with its own norm; leave one of them out."
    )
  inputs = ImageInputs(image_size, patch_size)
  module = _Vit(
    inputs=inputs,
    width=width,
    depth=depth,
    num_heads=num_heads,
    hidden=math.floor(width * mlp_ratio),
    mean=mean,
    std=std,
    positions=positions,
    cls_token=cls_token,
    pre_norm=pre_norm,
    final_norm=final_norm,
    layer_scale=layer_scale,
    norm_eps=norm_eps,
    drop_path=drop_path,
    attention_dropout=attention_dropout,
    attention=attention,
    remat=remat,
    compute_dtype=jnp.dtype(compute_dtype),
  )
  return Encoder(
    module,
    inputs,
    _sub_trees(module),
    _rescale,
    prepare=functools.partial(patches.prepare, mean=mean, std=std),
    resize=functools.partial(
      resizing.fit, grid=inputs.grid, prefix=int(cls_token)
    ),
    left_out=() if final_norm else ("norm",),
    raw_targets=functools.partial(
      patches.raw_targets, patch_size=patch_size, mean=mean, std=std
    ),
  )
