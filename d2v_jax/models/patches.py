"""Images as patches, and the tokens that a linear map makes of them."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from d2v_jax.models.encoder import Batch
from d2v_jax.models.initializers import torch_uniform
from d2v_jax.models.positions import sincos_positions
from d2v_jax.models.transformer import Initializer, beit_init


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


def patches(images: jax.Array, patch_size: int) -> jax.Array:
  """Pixels of each patch, row by row: [B, H, W, C] to [B, N, P * P * C]."""
  batch, height, width, channels = images.shape
  p = patch_size
  x = images.reshape(batch, height // p, p, width // p, p, channels)
  x = x.transpose(0, 1, 3, 2, 4, 5)
  return x.reshape(batch, -1, p * p * channels)


class PatchEmbed(nn.Module):
  """Images to patch tokens: a strided convolution as one product."""

  patch_size: int
  width: int
  compute_dtype: Any
  kernel_init: Initializer = beit_init
  torch_bias: bool = False

  @nn.compact
  def __call__(self, images: jax.Array) -> jax.Array:
    """Maps images [B, H, W, C] to tokens [B, N, D], row by row."""
    x = patches(images, self.patch_size)
    zeros = nn.initializers.zeros
    return nn.Dense(
      self.width,
      dtype=self.compute_dtype,
      kernel_init=self.kernel_init,
      bias_init=torch_uniform(x.shape[-1]) if self.torch_bias else zeros,
      name="proj",
    )(x)


class PlacedPatches(nn.Module):
  """Images to patch tokens with fixed positions, as data2vec 2.0 has them.

  Source: data2vec 2.0's released code: Xavier weights over all of a patch, and
  PyTorch's biases.
  """

  patch_size: int
  grid: tuple[int, int]
  width: int
  mean: tuple[float, ...]
  std: tuple[float, ...]
  compute_dtype: Any

  @nn.compact
  def __call__(self, batch: Batch) -> jax.Array:
    """Maps `inputs` [B, H, W, C] to tokens [B, N, D]."""
    images = batch["inputs"]
    check_size(images, self.grid, self.patch_size)
    x = PatchEmbed(
      self.patch_size,
      self.width,
      self.compute_dtype,
      nn.initializers.xavier_uniform(),
      torch_bias=True,
      name="feature_encoder",
    )(normalise(images, self.mean, self.std))
    positions = sincos_positions(self.grid, self.width)
    return x.astype(jnp.promote_types(x.dtype, jnp.float32)) + positions


def check_size(
  images: jax.Array, grid: tuple[int, int], patch_size: int
) -> None:
  """Checks that images [B, H, W, C] consist of the grid's patches.

  Raises:
    ValueError: they are of another size.
  """
  size = tuple(g * patch_size for g in grid)
  if images.ndim != 4 or images.shape[1:3] != size:
    raise ValueError(
      f"vit: inputs must be [B, {size[0]}, {size[1]}, C] images, got "
      f"{images.shape}; set encoder.image_size to the size of the data."
    )
