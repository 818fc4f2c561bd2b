"""Vision: patches and the BEiT-style ViT of data2vec.

Source: data2vec section 4.1 and the released vision code; Bao et al. 2021
(arXiv 2106.08254).
"""

import functools
import math
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from d2v_jax.data.layout import ImageInputs
from d2v_jax.models import positions as positions_lib
from d2v_jax.models import resizing, transformer, visible
from d2v_jax.models.encoder import Batch, Encoder, EncoderOutput
from d2v_jax.models.patches import (
  PatchEmbed,
  PlacedPatches,
  check_size,
  normalise,
  patches,
)

POSITIONS = ("relative", "relative_layers", "absolute", "sincos")


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
    check_size(images, self.grid, self.patch_size)
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


def _raw_targets(batch, patch_size, mean, std):
  return patches(normalise(batch["inputs"], mean, std), patch_size)


def by_version(arguments: dict[str, Any]) -> dict[str, Any]:
  """`pre_norm` and `layer_scale` of `vit`'s arguments, where they are None."""
  version_2 = arguments["prenet_depth"] is not None
  usual = {"pre_norm": not version_2, "layer_scale": 0.0 if version_2 else 1e-4}
  return {
    k: v if arguments[k] is None else arguments[k] for k, v in usual.items()
  }


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
  pre_norm: bool | None = None,
  final_norm: bool = True,
  layer_scale: float | None = None,
  norm_eps: float = 1e-6,
  drop_path: float = 0.0,
  attention_dropout: float = 0.0,
  prenet_depth: int | None = None,
  alibi: bool = False,
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
    pre_norm: norm before (the paper's ViT, so True unless given) or after each
      branch (False with prenet_depth).
    final_norm: with pre_norm, norm after the last layer. The released
      fine-tuning has none: there the head normalises what it has pooled.
    layer_scale: initial scale of each branch; 0 leaves the scale out. Unless
      given 1e-4, and 0 with prenet_depth.
    norm_eps: epsilon of the model's norms.
    drop_path: rate of the last layer; grows linearly from 0 in the first.
    attention_dropout: dropout rate of attention weights.
    prenet_depth: layers before those that targets are taken from, and before
      them a norm: the encoder of data2vec 2.0, which can encode visible patches
      alone; None is version 1. It has 'sincos' positions.
    alibi: with prenet_depth, attention biases that fall with distance.
    mean: per-channel mean subtracted from uint8 images scaled to [0, 1].
    std: per-channel std that they are divided by.
    remat: recompute activations in the backward pass.
    compute_dtype: dtype of matrix products, e.g. 'bfloat16'.

  Returns:
    Encoder with tokens [B, (image_size / patch_size)**2, width]. Its `resize`
    interpolates learned positions, 'absolute' and relative ones, from another
    square grid of patches.

  Raises:
    ValueError: for sizes that do not divide, unknown names, final_norm without
      pre_norm, and what does not go with prenet_depth.

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
  version_2 = visible.is_version_2("vit", prenet_depth, bool(pre_norm), alibi)
  left_out = by_version(
    dict(prenet_depth=prenet_depth, pre_norm=pre_norm, layer_scale=layer_scale)
  )
  pre_norm, layer_scale = left_out["pre_norm"], left_out["layer_scale"]
  if version_2 and (positions != "sincos" or layer_scale):
    raise ValueError(
      "vit: with prenet_depth there are positions='sincos' and layer_scale=0, "
      f"got positions={positions!r} and layer_scale={layer_scale}."
    )
  if not (final_norm or pre_norm or version_2):
    raise ValueError(
      "vit: final_norm=False needs pre_norm=True, since with pre_norm=False "
      "each layer ends with its own norm; leave one of them out."
    )
  transformer.check_rates(
    "vit", drop_path=drop_path, attention_dropout=attention_dropout
  )
  inputs = ImageInputs(image_size, patch_size)
  grid = inputs.grid
  mean, std = tuple(mean), tuple(std)
  layers = {
    "grid": grid,
    "depth": depth,
    "num_heads": num_heads,
    "hidden": math.floor(width * mlp_ratio),
    "norm_eps": norm_eps,
    "drop_path": drop_path,
    "attention_dropout": attention_dropout,
    "remat": remat,
    "compute_dtype": jnp.dtype(compute_dtype),
  }
  shared = {
    "prepare": functools.partial(_prepare, mean=mean, std=std),
    "raw_targets": functools.partial(
      _raw_targets, patch_size=patch_size, mean=mean, std=std
    ),
  }
  if not version_2:
    module = _Vit(
      patch_size=patch_size,
      width=width,
      mean=mean,
      std=std,
      positions=positions,
      cls_token=cls_token,
      pre_norm=pre_norm,
      final_norm=final_norm,
      layer_scale=layer_scale,
      **layers,
    )
    return Encoder(
      module,
      inputs,
      _rescale,
      resize=functools.partial(resizing.fit, grid=grid, prefix=int(cls_token)),
      left_out=() if final_norm else ("norm",),
      **shared,
    )
  tokens = PlacedPatches(
    patch_size, grid, width, mean, std, jnp.dtype(compute_dtype)
  )
  module = visible.VisibleEncoder(
    features=tokens,
    padding=lambda batch: None,
    prenet_depth=prenet_depth,
    prenet_norm=True,
    extra_tokens=int(cls_token),
    alibi_scales=num_heads if alibi else 0,
    **layers,
  )
  return Encoder(
    module,
    inputs,
    features=tokens,
    feature_parts=("feature_encoder",),
    visible=True,
    **shared,
  )
