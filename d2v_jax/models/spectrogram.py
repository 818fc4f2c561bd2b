"""Spectrograms: the networks of images on log-mel frames of recordings.

Source: EAT (arXiv 2401.03497) for the idea: data2vec 2.0's network for images,
unchanged, on patches of a spectrogram.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

from d2v_jax.data.layout import SpectrogramInputs
from d2v_jax.models import checks, visible_vision, vision
from d2v_jax.models.encoder import Encoder, Params
from d2v_jax.models.named import with_arguments_of
from d2v_jax.models.positions import CLS_ENTRIES


def _constructor(network: Callable[..., Encoder]) -> Callable[..., Encoder]:
  """A constructor with the arguments of a network for images, but for three."""

  def build(*, frames: int, bands: int, **fields: Any) -> Encoder:
    """The network of a spectrogram.

    Args:
      frames: log-mel frames of an example, one each 10 ms; a multiple of
        patch_size.
      bands: of the mel scale; a multiple of patch_size.
      **fields: all arguments of the network for images but the image's size,
        mean and std.

    Returns:
      Encoder of `inputs` float32 [B, frames, bands, 1], whose tokens are
      patches, those of the same time one after the other.

    Raises:
      ValueError: what they do not allow.
    """
    where = network.__name__
    patch = fields.get("patch_size", 16)
    checks.multiple(where, ("frames", frames), patch_size=patch)
    checks.multiple(where, ("bands", bands), patch_size=patch)
    # Frames are floats, which no network normalises.
    encoder = network(
      image_size=(frames, bands), mean=(0.0,), std=(1.0,), **fields
    )
    inputs = SpectrogramInputs((frames, bands), patch)
    return dataclasses.replace(
      encoder,
      inputs=inputs,
      resize=functools.partial(check_positions, grid=inputs.grid),
    )

  return with_arguments_of(
    build, network, network.__name__, ("image_size", "mean", "std")
  )


def check_positions(params: Params, *, grid: tuple[int, int]) -> Params:
  """Returns parameters whose learned positions are those of a grid.

  Args:
    params: some of an encoder's top-level sub-trees.
    grid: (H, W) in patches.

  Raises:
    ValueError: they are those of another number of patches.
  """
  height, width = grid
  relative = (2 * height - 1) * (2 * width - 1) + CLS_ENTRIES
  embedding = params.get("position_embedding")
  found = []
  if embedding is not None:  # with or without a CLS token
    found.append((embedding.shape[1] - height * width) in (0, 1))
  for part in (params, params.get("blocks", {})):
    if "relative_position_bias" in part:
      table = part["relative_position_bias"]["table"]
      found.append(table.shape[-2] == relative)
  if not all(found):
    raise ValueError(
      f"the learned positions are not those of {height} x {width} patches, and "
      "those of spectrograms are not interpolated; set encoder.frames, bands "
      "and patch_size as they were, or train with positions that are not "
      "learned: positions='sincos', or visible_vit."
    )
  return params


vit = _constructor(vision.vit)
visible_vit = _constructor(visible_vision.visible_vit)
