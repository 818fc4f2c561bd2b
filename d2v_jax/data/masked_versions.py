"""Several masked versions of one example: the masks of data2vec 2.0.

In all three modalities a mask has an exact size, so that the visible tokens fit
into an array without padding. A share of N tokens is a number cut off, not
rounded, as the floats of the released code have it: 0.8 of 196 patches hidden
leave 39 visible.
"""

import dataclasses
import math

import numpy as np

from d2v_jax.data.block_masking import block_masks, force_count


@dataclasses.dataclass(frozen=True)
class InverseBlockMasks:
  """Masks of an image that leave square blocks of patches visible.

  Args:
    num_masks: masks M of each image.
    ratio: hidden share of the patches; 1 - ratio is cut off to whole patches.
    adjust: see `block_masks`.
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

  def __post_init__(self):
    _check_versions("InverseBlockMasks", self.num_masks, self.ratio)
    _check_blocks("InverseBlockMasks", 1 - self.ratio, self.adjust, self.length)

  def count(self, grid: tuple[int, int]) -> int:
    """Returns the number of hidden patches, the same in each mask."""
    size = math.prod(grid)
    visible = int(size * (1 - self.ratio))
    _check_visible("InverseBlockMasks", visible, size, "patches", self.ratio)
    return size - visible

  def __call__(
    self, rng: np.random.Generator, grid: tuple[int, int]
  ) -> np.ndarray:
    """Returns fresh masks, bool [M, H, W]."""
    self.count(grid)  # raises when the grid is too small
    blocks = (self.ratio, self.adjust, self.length)
    return block_masks(rng, grid, self.num_masks, *blocks, inverse=True)


@dataclasses.dataclass(frozen=True)
class BlockMasks:
  """Masks of an utterance that hide blocks of frames.

  Args:
    num_masks: masks M of each utterance.
    ratio: hidden share of the real frames, cut off to whole frames.
    adjust: see `block_masks`.
    length: frames in a block.

  Raises:
    ValueError: an argument is outside its range.

  Source: data2vec 2.0 (arXiv 2212.07525). The defaults are those of the base
  model; the large one has num_masks 12, ratio 0.55 and adjust 0.1. In the
  release a mask is drawn for the whole utterance and then cropped, apart from
  the samples. So its rows hide different numbers of frames, while all encode as
  many as the first: rows that hide less lose visible frames, and rows that hide
  more show frames that they are scored on. We draw for the cropped utterance,
  and n real frames always have exactly floor(n ratio) hidden ones.
  """

  num_masks: int = 8
  ratio: float = 0.5
  adjust: float = 0.05
  length: int = 5

  def __post_init__(self):
    _check_versions("BlockMasks", self.num_masks, self.ratio)
    _check_blocks("BlockMasks", self.ratio, self.adjust, self.length)

  def num_visible(self, total: int) -> int:
    """Returns V for batches of `total` frames.

    Raises:
      ValueError: so few frames that none of them is hidden.
    """
    visible = total - int(total * self.ratio)
    _check_visible("BlockMasks", visible, total, "frames", self.ratio)
    return visible

  def __call__(
    self, rng: np.random.Generator, num_frames: int, total: int
  ) -> np.ndarray:
    """Draws masks.

    Args:
      rng: the only source of randomness.
      num_frames: real frames, at least 1; those after them are padding.
      total: frames N, padding included.

    Returns:
      bool [M, N], True = hidden; never True in the padding. Where num_frames *
      ratio is below 1, nothing is hidden.

    Raises:
      ValueError: `num_frames` is below 1 or above `total`.
    """
    _check_real("BlockMasks", num_frames, total, "frames")
    mask = np.zeros((self.num_masks, total), bool)
    blocks = (self.ratio, self.adjust, self.length)
    mask[:, :num_frames] = block_masks(
      rng, (num_frames,), self.num_masks, *blocks, inverse=False
    )
    return mask


@dataclasses.dataclass(frozen=True)
class RandomMasks:
  """Masks of a text that hide single tokens, all choices equally likely.

  Args:
    num_masks: masks M of each text.
    ratio: hidden share of the real tokens; 1 - ratio is cut off to whole
      tokens, of which one at least stays visible.

  Raises:
    ValueError: an argument is outside its range.

  Source: data2vec 2.0 (arXiv 2212.07525). The default is that of the base model
  (266 of 512 tokens visible); the large one has ratio 0.5. To the release
  padding is tokens like others: it is hidden and predicted, too, and a short
  text has by chance more or fewer visible tokens. Ours hide real tokens only,
  and of n always as many; without padding there is no difference.
  """

  num_masks: int = 8
  ratio: float = 0.48

  def __post_init__(self):
    _check_versions("RandomMasks", self.num_masks, self.ratio)

  def num_visible(self, total: int) -> int:
    """Returns V for batches of `total` tokens.

    Raises:
      ValueError: so few tokens that none of them would be visible.
    """
    visible = int(total * (1 - self.ratio))
    _check_visible("RandomMasks", visible, total, "tokens", self.ratio)
    return visible

  def __call__(
    self, rng: np.random.Generator, num_tokens: int, total: int
  ) -> np.ndarray:
    """Draws masks.

    Args:
      rng: the only source of randomness.
      num_tokens: real tokens, at least 1; those after them are padding.
      total: tokens N, padding included.

    Returns:
      bool [M, N], True = hidden; never True in the padding.

    Raises:
      ValueError: `num_tokens` is below 1 or above `total`.
    """
    _check_real("RandomMasks", num_tokens, total, "tokens")
    visible = max(1, int(num_tokens * (1 - self.ratio)))
    mask = np.zeros((self.num_masks, total), bool)
    none = np.zeros((self.num_masks, num_tokens), bool)
    mask[:, :num_tokens] = ~force_count(rng, none, visible)
    return mask


def _check_versions(name: str, num_masks: int, ratio: float) -> None:
  if num_masks < 1:
    raise ValueError(f"{name}: num_masks must be >= 1, got {num_masks}")
  if not 0 < ratio < 1:
    raise ValueError(
      f"{name}: ratio must be between 0 and 1 (both excluded), got {ratio}"
    )


def _check_blocks(name: str, share: float, adjust: float, length: int) -> None:
  if length < 1:
    raise ValueError(f"{name}: length must be >= 1, got {length}")
  if share + adjust < 0:
    raise ValueError(
      f"{name}: adjust must be at least -{share:g} (minus the share that "
      f"blocks are for), got {adjust}"
    )


def _check_visible(
  name: str, visible: int, size: int, tokens: str, ratio: float
) -> None:
  if not 0 < visible < size:
    raise ValueError(
      f"{name}: with ratio={ratio}, {visible} of {size} {tokens} stay visible; "
      f"allowed are 1 to {size - 1}: change the ratio, or give longer inputs"
    )


def _check_real(name: str, real: int, total: int, tokens: str) -> None:
  if not 1 <= real <= total:
    raise ValueError(
      f"{name}: got {real} real {tokens} of {total}; allowed are 1 to {total}: "
      "leave out shorter inputs"
    )
