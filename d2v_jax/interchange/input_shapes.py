"""What a network takes: shapes and dtypes of its inputs."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from d2v_jax.data.layout import ConvLayers
from d2v_jax.interchange.weights import InterchangeError, flatten

# The map of patches, whose rows are their pixels.
_PATCHES = "feature_encoder/proj/kernel"


def example(
  modality: str,
  encoder: Mapping[str, Any],
  length: int | None = None,
  channels: int = 3,
) -> jax.ShapeDtypeStruct:
  """One example's input, as a batch.

  Args:
    modality: a key of MODALITIES.
    encoder: arguments of the encoder.
    length: samples or tokens; None: as few as it takes.
    channels: of images.

  Returns:
    [1, ...]: bytes of an image, samples or token ids.

  Raises:
    InterchangeError: the length is not one that the network takes.
  """
  if modality == "vision":
    if length is not None:
      raise InterchangeError("images have no length; leave it out.")
    side = encoder["image_size"]
    return jax.ShapeDtypeStruct((1, side, side, channels), jnp.uint8)
  shortest, longest = lengths(modality, encoder)
  length = shortest if length is None else length
  if length < shortest or (longest is not None and length > longest):
    most = "any more" if longest is None else longest
    raise InterchangeError(
      f"the length must be {shortest} to {most} "
      f"({'samples' if modality == 'speech' else 'tokens'}), got {length}."
    )
  dtype = jnp.float32 if modality == "speech" else jnp.int32
  return jax.ShapeDtypeStruct((1, length), dtype)


def lengths(
  modality: str, encoder: Mapping[str, Any]
) -> tuple[int, int | None]:
  """Fewest and most samples or tokens; most is None where there is no limit."""
  if modality == "text":
    return 1, encoder["max_tokens"]
  return samples(1, encoder["conv_layers"]), None


def samples(frames: int, conv_layers: ConvLayers) -> int:
  """The fewest samples of which the feature encoder makes so many frames."""
  for _, kernel, stride in reversed(conv_layers):
    frames = (frames - 1) * stride + kernel
  return frames


def channels(encoder: Mapping[str, Any], params: Mapping[str, Any]) -> int:
  """Channels of the images that an encoder of all arguments takes.

  Raises:
    InterchangeError: the parameters, or their shapes, have no place for images.
  """
  kernel = flatten(params).get(_PATCHES)
  pixels = encoder["patch_size"] ** 2
  if kernel is None or kernel.shape[0] % pixels:
    raise InterchangeError(
      f"{_PATCHES} must have a multiple of {pixels} rows, a row for each pixel "
      f"of a patch and channel; got {getattr(kernel, 'shape', 'none')}."
    )
  return kernel.shape[0] // pixels
