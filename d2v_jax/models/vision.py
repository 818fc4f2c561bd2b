"""Vision: patches and the BEiT-style ViT of data2vec.

Source: data2vec section 4.1 and the released vision code; Bao et al. 2021
(arXiv 2106.08254).
"""

import functools
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from d2v_jax.models import positions as positions_lib
from d2v_jax.models import resizing, transformer
from d2v_jax.models.encoder import Batch, Encoder, EncoderOutput

POSITIONS = ("relative", "relative_layers", "absolute", "sincos")


def normalise(
  images: jax.Array, mean: tuple[float, ...], std: tuple[float, ...]
) -> jax.Array:
  """uint8 images scaled to [0, 1] and normalised; others as they are.

  It runs on the device, where bytes are cheaper to bring than floats.

  Args:
    images: [B, H, W, C].
    mean: one value per channel, or one for all; subtracted.
    std: likewise; divided by.

  Returns:
    [B, H, W, C] float32, or what was given.

  Raises:
    ValueError: for a wrong number of values.
  """
  if images.dtype != jnp.uint8:
    return images
  channels = images.shape[-1]
  for name, value in (("mean", mean), ("std", std)):
    if len(value) not in (1, channels):
      raise ValueError(
        f"vit: {name} has {len(value)} values for {channels} channels; "
        f"give one value per channel in encoder.{name}."
      )
  return (images.astype(jnp.float32) / 255.0 - jnp.array(mean)) / jnp.array(std)


class PatchEmbed(nn.Module):
  """Images to patch tokens: a strided convolution as one product."""

  patch_size: int
  width: int
  compute_dtype: Any

  @nn.compact
  def __call__(self, images: jax.Array) -> jax.Array:
    """Maps images [B, H, W, C] to tokens [B, N, D], row by row."""
    batch, height, width, channels = images.shape
    p = self.patch_size
    patches = images.reshape(batch, height // p, p, width // p, p, channels)
    patches = patches.transpose(0, 1, 3, 2, 4, 5)
    patches = patches.reshape(batch, -1, p * p * channels)
    return nn.Dense(
      self.width,
      dtype=self.compute_dtype,
      kernel_init=transformer.beit_init,
      name="proj",
    )(patches)


class _Vit(nn.Module):
  patch_size: int
  grid: tuple[int, int]
  width: int
  depth: int
  num_heads: int
  hidden: int
  mean: tuple[float, ...]
  std: tuple[float, ...]
  positions: str
  cls_token: bool
  pre_norm: bool
  final_norm: bool
  layer_scale: float
  norm_eps: float
  drop_path: float
  attention_dropout: float
  remat: bool
  compute_dtype: Any

  @nn.compact
  def __call__(self, batch, mask):
    images = batch["inputs"]
    size = tuple(g * self.patch_size for g in self.grid)
    if images.ndim != 4 or images.shape[1:3] != size:
      raise ValueError(
        f"vit: inputs must be [B, {size[0]}, {size[1]}, C] images, got "
        f"{images.shape}; set encoder.image_size to the size of the data."
      )
    x = PatchEmbed(
      self.patch_size, self.width, self.compute_dtype, name="feature_encoder"
    )(normalise(images, self.mean, self.std))
    # From here on the residual stream is float32, or float64 if params are.
    token = (1, 1, self.width)
    mask_token = self.param("mask_token", transformer.beit_init, token)
    x = x.astype(jnp.promote_types(x.dtype, mask_token.dtype))
    if mask is not None:
      if mask.shape != x.shape[:2]:
        raise ValueError(
          f"vit: mask {mask.shape} does not fit tokens {x.shape[:2]}."
        )
      x = jnp.where(mask[..., None], mask_token.astype(x.dtype), x)
    if self.positions == "sincos":
      x += positions_lib.sincos_positions(self.grid, self.width)
    prefix = int(self.cls_token)
    if prefix:
      cls = self.param("cls_token", transformer.beit_init, token)
      cls = jnp.broadcast_to(cls, (x.shape[0], 1, self.width))
      x = jnp.concatenate([cls.astype(x.dtype), x], axis=1)
    if self.positions == "absolute":
      x += self.param(
        "position_embedding", transformer.beit_init, (1, *x.shape[1:])
      )
    relative = functools.partial(
      positions_lib.RelativePositionBias,
      self.grid,
      self.num_heads,
      self.cls_token,
      name="relative_position_bias",
    )
    bias = relative()() if self.positions == "relative" else None
    if not self.pre_norm:
      x = transformer.layer_norm(self.norm_eps, "norm")(x)
    x, layers = transformer.stacked_blocks(
      self.depth,
      remat=self.remat,
      name="blocks",
      num_heads=self.num_heads,
      hidden=self.hidden,
      pre_norm=self.pre_norm,
      layer_scale=self.layer_scale,
      norm_eps=self.norm_eps,
      attention_dropout=self.attention_dropout,
      drop_path=self.drop_path > 0,
      own_bias=relative if self.positions == "relative_layers" else None,
      compute_dtype=self.compute_dtype,
    )(x, jnp.linspace(0.0, self.drop_path, self.depth), bias)
    if self.pre_norm and self.final_norm:
      x = transformer.layer_norm(self.norm_eps, "norm")(x)
    return EncoderOutput(
      tokens=x[:, prefix:],
      attention=layers.attention[:, :, prefix:],
      ffn=layers.ffn[:, :, prefix:],
      block=layers.block[:, :, prefix:],
      cls=x[:, 0] if prefix else None,
      block_cls=layers.block[:, :, 0] if prefix else None,
    )


def _rescale(params):
  """Divides both branches' last products in layer l = 1..L by sqrt(2 l)."""
  depth = params["blocks"]["attention"]["out"]["kernel"].shape[0]
  scale = (2.0 * np.arange(1, depth + 1)) ** -0.5
  scale = scale[:, None, None].astype(np.float32)
  blocks = dict(params["blocks"])
  for module, layer in (("attention", "out"), ("mlp", "fc2")):
    dense = blocks[module][layer]
    dense = {**dense, "kernel": dense["kernel"] * scale}
    blocks[module] = {**blocks[module], layer: dense}
  return {**params, "blocks": blocks}


def _prepare(batch: Batch, mean, std) -> Batch:
  return {**batch, "inputs": normalise(batch["inputs"], mean, std)}


def vit(
  *,
  image_size: int = 224,
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
  mean: tuple[float, ...] = (0.485, 0.456, 0.406),
  std: tuple[float, ...] = (0.229, 0.224, 0.225),
  remat: bool = False,
  compute_dtype: str = "float32",
) -> Encoder:
  """The BEiT-style ViT.

  Args:
    image_size: side of the square input, pixels; a multiple of patch_size.
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
    remat: recompute activations in the backward pass.
    compute_dtype: dtype of matrix products, e.g. 'bfloat16'.

  Returns:
    Encoder with tokens [B, (image_size / patch_size)**2, width]. Its `resize`
    interpolates learned positions, 'absolute' and relative ones, from another
    square grid of patches.

  Raises:
    ValueError: for sizes that do not divide, unknown names, and final_norm
      without pre_norm.

  Source: data2vec section 4.1; released vision code for biases, layer scale and
  initial values.
  """
  if image_size % patch_size:
    raise ValueError(
      f"vit: image_size {image_size} is not a multiple of patch_size "
      f"{patch_size}; change one of them."
    )
  if width % num_heads:
    raise ValueError(
      f"vit: width {width} is not a multiple of num_heads {num_heads}; "
      "change one of them."
    )
  if positions not in POSITIONS:
    raise ValueError(
      f"vit: unknown positions {positions!r}; choose one of: "
      f"{', '.join(POSITIONS)}."
    )
  if not (final_norm or pre_norm):
    raise ValueError(
      "vit: final_norm=False needs pre_norm=True, since with pre_norm=False "
      "each layer ends with its own norm; leave one of them out."
    )
  transformer.check_rates(
    "vit", drop_path=drop_path, attention_dropout=attention_dropout
  )
  grid = (image_size // patch_size,) * 2
  module = _Vit(
    patch_size=patch_size,
    grid=grid,
    width=width,
    depth=depth,
    num_heads=num_heads,
    hidden=math.floor(width * mlp_ratio),
    mean=tuple(mean),
    std=tuple(std),
    positions=positions,
    cls_token=cls_token,
    pre_norm=pre_norm,
    final_norm=final_norm,
    layer_scale=layer_scale,
    norm_eps=norm_eps,
    drop_path=drop_path,
    attention_dropout=attention_dropout,
    remat=remat,
    compute_dtype=jnp.dtype(compute_dtype),
  )
  return Encoder(
    module,
    grid,
    _rescale,
    prepare=functools.partial(_prepare, mean=module.mean, std=module.std),
    resize=functools.partial(resizing.fit, grid=grid, prefix=int(cls_token)),
    left_out=() if final_norm else ("norm",),
  )
