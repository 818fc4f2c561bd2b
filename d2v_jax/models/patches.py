"""Images as patches, and the tokens that a linear map makes of them."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from d2v_jax.data.layout import ImageInputs
from d2v_jax.models import checks
from d2v_jax.models.encoder import Batch
from d2v_jax.models.initializers import Initializer, beit_init, torch_uniform
from d2v_jax.models.linear import Linear
from d2v_jax.models.positions import sincos_positions

Channels = tuple[float, ...]

# ImageNet's mean and standard deviation of each channel, of values in [0, 1].
MEAN: Channels = (0.485, 0.456, 0.406)
STD: Channels = (0.229, 0.224, 0.225)


def normalise(images: jax.Array, mean: Channels, std: Channels) -> jax.Array:
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
  x = x.transpose(0, 1, 3, 2, 4, 5)  # [B, H / P, W / P, P, P, C]
  return x.reshape(batch, -1, p * p * channels)


def prepare(batch: Batch, *, mean: Channels, std: Channels) -> Batch:
  """The batch with its `inputs` [B, H, W, C] normalised."""
  return {**batch, "inputs": normalise(batch["inputs"], mean, std)}


def raw_targets(
  batch: Batch, *, patch_size: int, mean: Channels, std: Channels
) -> jax.Array:
  """Normalised pixels of each patch [B, N, P * P * C] of a batch."""
  return patches(normalise(batch["inputs"], mean, std), patch_size)


class PatchEmbed(nn.Module):
  """Images to patch tokens: a strided convolution as one product."""

  patch_size: int
  width: int
  compute_dtype: DTypeLike
  kernel_init: Initializer = beit_init
  torch_bias: bool = False

  @nn.compact
  def __call__(self, images: jax.Array) -> jax.Array:
    """Maps images [B, H, W, C] to tokens [B, N, D], row by row."""
    x = patches(images, self.patch_size)  # [B, N, P * P * C]
    zeros = nn.initializers.zeros
    return Linear(
      self.width,
      self.kernel_init,
      bias_init=torch_uniform(x.shape[-1]) if self.torch_bias else zeros,
      compute_dtype=self.compute_dtype,
      name="proj",
    )(x)


class PatchesWithPositions(nn.Module):
  """Images to patch tokens with fixed positions, as data2vec 2.0 has them.

  Source: data2vec 2.0's released code: Xavier weights over all of a patch, and
  PyTorch's biases.
  """

  inputs: ImageInputs
  width: int
  mean: Channels
  std: Channels
  compute_dtype: DTypeLike

  @nn.compact
  def __call__(self, batch: Batch) -> jax.Array:
    """Maps `inputs` [B, H, W, C] to tokens [B, N, D]."""
    images = batch["inputs"]
    check_size(images, self.inputs)
    x = PatchEmbed(
      self.inputs.patch_size,
      self.width,
      self.compute_dtype,
      nn.initializers.xavier_uniform(),
      torch_bias=True,
      name="feature_encoder",
    )(normalise(images, self.mean, self.std))  # [B, N, D]
    positions = sincos_positions(self.inputs.grid, self.width)  # [N, D]
    return x.astype(jnp.promote_types(x.dtype, jnp.float32)) + positions


def check_size(images: jax.Array, inputs: ImageInputs) -> None:
  """Checks that images [B, H, W, C] are of the network's size.

  Raises:
    ValueError: they are of another size.
  """
  height, width = inputs.size
  if images.ndim != 4 or images.shape[1:3] != (height, width):
    raise ValueError(
      f"vit: inputs must be [B, {height}, {width}, C] images, got "
      f"{images.shape}; set encoder.image_size to the size of the data."
    )


def check_images(
  where: str,
  *,
  image_size: int | tuple[int, int],
  patch_size: int,
  mean: Channels,
  std: Channels,
) -> None:
  """Checks the arguments that networks for images have.

  Args:
    where: the constructor, for errors.
    image_size: side of a square, or (height, width), pixels.
    patch_size: side of a patch; must divide them.
    mean: subtracted from each channel.
    std: each channel is divided by it.

  Raises:
    ValueError: names the constructor, the argument and its value.
  """
  sides = (image_size,) if isinstance(image_size, int) else image_size
  for side in sides:
    checks.multiple(where, ("image_size", side), patch_size=patch_size)
  checks.at_least(where, 1, **{"len(mean)": len(mean), "len(std)": len(std)})
  for value in std:
    checks.positive(where, std=value)
