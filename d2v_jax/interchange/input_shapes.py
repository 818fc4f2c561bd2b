"""What a network takes: shapes and dtypes of its inputs."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from d2v_jax.data.layout import ConvLayers
from d2v_jax.interchange.weights import InterchangeError, flatten
from d2v_jax.models.encoder import Params

# The map of patches, whose rows are their pixels.
_PATCHES = "feature_encoder/proj/kernel"


def example(
  modality: str,
  encoder: Mapping[str, Any],
  params: Params,
  length: int | None = None,
) -> jax.ShapeDtypeStruct:
  """One example's input, as a batch.

  Args:
    modality: a key of MODALITIES.
    encoder: all arguments of the encoder.
    params: its parameters, or their shapes.
    length: samples or tokens; None: as few as it takes.

  Returns:
    [1, ...]: bytes of an image, samples or token ids.

  Raises:
    InterchangeError: the parameters have no place for images, or the length is
      not one that the network takes.
  """
  if modality == "vision":
    if length is not None:
      raise InterchangeError("images have no length; leave it out.")
    side = encoder["image_size"]
    shape = (1, side, side, _channels(encoder, params))
    return jax.ShapeDtypeStruct(shape, jnp.uint8)
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
  return _samples_of_a_frame(encoder["conv_layers"]), None


def _samples_of_a_frame(conv_layers: ConvLayers) -> int:
  return functools.reduce(
    lambda n, layer: (n - 1) * layer[2] + layer[1], reversed(conv_layers), 1
  )


def _channels(encoder, params):
  kernel = flatten(params).get(_PATCHES)
  pixels = encoder["patch_size"] ** 2
  if kernel is None or kernel.shape[0] % pixels:
    raise InterchangeError(
      f"{_PATCHES} must have a multiple of {pixels} rows, a row for each pixel "
      f"of a patch and channel; got {getattr(kernel, 'shape', 'none')}."
    )
  return kernel.shape[0] // pixels
