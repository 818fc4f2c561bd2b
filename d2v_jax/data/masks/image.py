"""Which patches of an image are hidden.

`BeitBlockMask` is version 1's, `InverseBlockMask` version 2's;
`RandomPatchMask` is for both, and for masked autoencoders.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from d2v_jax.data.masks import blocks
from d2v_jax.data.masks.beit_blocks import draw_beit_blocks
from d2v_jax.data.masks.mask import (
  MOST_MASKS,
  Mask,
  check_versions,
  check_visible,
  keep_ids,
)
from d2v_jax.data.ranges import check_range


@dataclasses.dataclass(frozen=True)
class BeitBlockMask:
  """Hides random rectangles, see `draw_beit_blocks`.

  The default share is the reference's: 120 of 196 patches is a ratio of 0.612.

  Args:
    num_masked: hidden patches; or give `ratio`, not both.
    ratio: hidden share, rounded to whole patches.
    min_block: smallest area proposed for a block, in patches.
    max_block: most patches that one block may add; None for no limit.
    min_aspect: blocks are between `min_aspect` and 1 / `min_aspect` times as
      high as wide.

  Raises:
    ValueError: an argument is outside its range.
  """

  num_masked: int | None = None
  ratio: float | None = None
  min_block: int = 16
  max_block: int | None = None
  min_aspect: float = 0.3

  num_masks: ClassVar[None] = None

  def __post_init__(self) -> None:
    _check_amount("BeitBlockMask", self.num_masked, self.ratio)
    if self.min_block < 1:
      raise ValueError(
        f"BeitBlockMask: min_block must be >= 1, got {self.min_block}"
      )
    if self.max_block is not None and self.max_block < self.min_block:
      raise ValueError(
        f"BeitBlockMask: max_block must be None or >= "
        f"min_block={self.min_block}, got {self.max_block}"
      )
    if not 0 < self.min_aspect <= 1:
      raise ValueError(
        "BeitBlockMask: min_aspect must be above 0 and at most 1, got "
        f"{self.min_aspect}"
      )

  def count(self, grid: tuple[int, ...]) -> int:
    """Returns the number of hidden patches, which is the same in each mask."""
    return _count("BeitBlockMask", grid, self.num_masked, self.ratio)

  def check(self, shape: tuple[int, ...], shortest: int | None = None) -> None:
    """Raises ValueError where a grid of this `shape` has too few patches."""
    del shortest  # images have no padding
    self.count(shape)

  def __call__(
    self, rng: np.random.Generator, example: Mapping[str, Any]
  ) -> dict[str, np.ndarray]:
    """Returns `mask` bool [H * W], of an example with `grid`."""
    grid = example["grid"]
    limits = (self.min_block, self.max_block, self.min_aspect)
    mask = draw_beit_blocks(rng, grid, self.count(grid), *limits)  # [H, W]
    return {"mask": mask.reshape(-1)}


@dataclasses.dataclass(frozen=True)
class RandomPatchMask:
  """Hides single patches, all choices equally likely.

  Args:
    num_masked: hidden patches; or give `ratio`, not both.
    ratio: hidden share, rounded to whole patches.
    num_masks: masks M of each image, for data2vec 2.0 and for masked
      autoencoders; None for one.

  Raises:
    ValueError: an argument is outside its range.
  """

  num_masked: int | None = None
  ratio: float | None = None
  num_masks: int | None = None

  def __post_init__(self) -> None:
    _check_amount("RandomPatchMask", self.num_masked, self.ratio)
    if self.num_masks is not None:
      check_range("RandomPatchMask", "num_masks", self.num_masks, 1, MOST_MASKS)

  def count(self, grid: tuple[int, ...]) -> int:
    """Returns the number of hidden patches, which is the same in each mask."""
    return _count("RandomPatchMask", grid, self.num_masked, self.ratio)

  def check(self, shape: tuple[int, ...], shortest: int | None = None) -> None:
    """Raises ValueError where a grid of this `shape` has too few patches."""
    del shortest  # images have no padding
    self.count(shape)

  def __call__(
    self, rng: np.random.Generator, example: Mapping[str, Any]
  ) -> dict[str, np.ndarray]:
    """Returns `mask` bool [H * W], or [M, H * W] and `keep_ids` int32 [M, V].

    Args:
      rng: the only source of randomness.
      example: with `grid`, (H, W).
    """
    grid = example["grid"]
    size, hidden = math.prod(grid), self.count(grid)
    mask = np.zeros((self.num_masks or 1, size), bool)  # [M, H * W]
    for row in mask:
      row[rng.choice(size, hidden, replace=False, shuffle=False)] = True
    if self.num_masks is None:
      return {"mask": mask[0]}
    return {"mask": mask, "keep_ids": keep_ids(mask, size - hidden)}


@dataclasses.dataclass(frozen=True)
class InverseBlockMask:
  """Masks of an image that leave square blocks of patches visible.

  Args:
    num_masks: masks M of each image.
    ratio: hidden share of the patches; 1 - ratio is cut off to whole patches.
    adjust: see `blocks.block_masks`.
    length: side of a block, in patches.

  Raises:
    ValueError: an argument is outside its range.

  Source: data2vec 2.0 (arXiv 2212.07525). The defaults are those of ViT-B,
  which leave 39 of 14 x 14 patches visible; ViT-L and ViT-H have ratio 0.75
  and adjust 0.1 (49 visible; of 16 x 16 patches 64).
  """

  num_masks: int = 16
  ratio: float = 0.8
  adjust: float = 0.07
  length: int = 3

  def __post_init__(self) -> None:
    check_versions("InverseBlockMask", self.num_masks, self.ratio)
    blocks.check_blocks(
      "InverseBlockMask", 1 - self.ratio, self.adjust, self.length
    )

  def count(self, grid: tuple[int, ...]) -> int:
    """Returns the number of hidden patches, the same in each mask."""
    size = math.prod(grid)
    visible = int(size * (1 - self.ratio))
    check_visible("InverseBlockMask", visible, size, "patches", self.ratio)
    return size - visible

  def check(self, shape: tuple[int, ...], shortest: int | None = None) -> None:
    """Raises ValueError where a grid of this `shape` has too few patches."""
    del shortest  # images have no padding
    self.count(shape)

  def __call__(
    self, rng: np.random.Generator, example: Mapping[str, Any]
  ) -> dict[str, np.ndarray]:
    """Returns `mask` bool [M, H * W] and `keep_ids` int32 [M, V].

    Args:
      rng: the only source of randomness.
      example: with `grid`, (H, W).
    """
    grid = example["grid"]
    visible = math.prod(grid) - self.count(grid)
    settings = (self.ratio, self.adjust, self.length)
    mask = blocks.block_masks(
      rng, grid, self.num_masks, *settings, inverse=True
    ).reshape(self.num_masks, -1)  # [M, H, W] -> [M, H * W]
    return {"mask": mask, "keep_ids": keep_ids(mask, visible)}


MASKS: dict[str, type[Mask]] = {
  "beit_blocks": BeitBlockMask,
  "inverse_blocks": InverseBlockMask,
  "random_patches": RandomPatchMask,
}


def _count(
  name: str,
  grid: tuple[int, ...],
  num_masked: int | None,
  ratio: float | None,
) -> int:
  """Returns the number of hidden patches of a grid."""
  size = math.prod(grid)
  count = round((ratio or 0) * size) if num_masked is None else num_masked
  if not 1 <= count < size:
    raise ValueError(
      f"{name}: cannot hide {count} of the {size} patches of a "
      f"{' x '.join(map(str, grid))} grid; allowed are 1 to {size - 1}: change "
      "num_masked or ratio, or the image and patch size"
    )
  return count


def _check_amount(
  name: str, num_masked: int | None, ratio: float | None
) -> None:
  if (num_masked is None) == (ratio is None):
    raise ValueError(
      f"{name}: got num_masked={num_masked} and ratio={ratio}; "
      "give exactly one of the two"
    )
  if ratio is not None and not 0 < ratio < 1:
    raise ValueError(
      f"{name}: ratio must be between 0 and 1 (both excluded), got {ratio}"
    )
