"""What the files of both vision models tell by their weights."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from d2v_jax.interchange.fairseq.checkpoint import Checkpoint, mlp_ratio, size
from d2v_jax.interchange.weights import InterchangeError

# Buffers that follow from the size.
UNUSED = (r"(.*\.)?relative_position_index",)

# Patches along a side: tables in memory grow with its fourth power.
LARGEST_GRID = 96
_LARGEST_IMAGE = 2**16
_MOST_CHANNELS = 64


def sizes(checkpoint: Checkpoint, blocks: str, fc1: str) -> dict[str, Any]:
  """Width, depth, hidden width and whether layers are scaled.

  Args:
    checkpoint: the file.
    blocks: how the names of blocks begin.
    fc1: how the name of a block's first product of the MLP ends.
  """
  arrays = checkpoint.arrays
  width = size(checkpoint, f"{blocks}0.norm1.weight", 0)
  layers = {
    n.removeprefix(blocks).split(".")[0] for n in arrays if n.startswith(blocks)
  }
  scaled = f"{blocks}0.gamma_1" in arrays
  return {
    "name": "vit",
    "width": width,
    "depth": len(layers),
    "mlp_ratio": mlp_ratio(checkpoint, f"{blocks}0.{fc1}.weight", width),
    "layer_scale": 1e-4 if scaled else 0.0,
  }


def grid_of(checkpoint: Checkpoint, entries: int) -> int:
  """Patches along a side, of a table with (2 g - 1)**2 + 3 entries."""
  grid = (math.isqrt(max(entries - 3, 0)) + 1) // 2
  if grid > LARGEST_GRID or (2 * grid - 1) ** 2 + 3 != entries:
    raise checkpoint.error(
      f"a table of relative positions with {entries} entries is not that of a "
      f"square of up to {LARGEST_GRID} patches"
    )
  return grid


def inputs(
  checkpoint: Checkpoint, encoder: dict[str, Any], patches: str
) -> jax.ShapeDtypeStruct:
  """An image [1, H, W, C] for the encoder.

  Args:
    checkpoint: the file.
    encoder: arguments of `vit`.
    patches: name of the patches' weight [D, C, P, P].
  """
  channels = size(checkpoint, patches, 1)
  if encoder["image_size"] > _LARGEST_IMAGE or channels > _MOST_CHANNELS:
    raise InterchangeError(
      f"{checkpoint.path}: images of {encoder['image_size']} pixels and "
      f"{channels} channels are too large."
    )
  shape = (1, *(encoder["image_size"],) * 2, channels)
  return jax.ShapeDtypeStruct(shape, jnp.float32)
