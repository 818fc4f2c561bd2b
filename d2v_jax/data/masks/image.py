"""Which patches of an image are hidden: blockwise and uniform masks."""

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterator

import numpy as np

from d2v_jax.data.masks import blocks

Grid = tuple[int, int]

_ATTEMPTS = 10  # per block, then the reference gives up


def block_mask(
  rng: np.random.Generator,
  grid: Grid,
  num_masked: int,
  min_block: int = 16,
  max_block: int | None = None,
  min_aspect: float = 0.3,
) -> np.ndarray:
  """Draws a mask made of random rectangles with exactly `num_masked` patches.

  Args:
    rng: the only source of randomness.
    grid: patches per column and per row, (H, W).
    num_masked: patches to hide, 1 to H * W - 1.
    min_block: smallest area proposed for a block, in patches.
    max_block: most patches that one block may add; None for no limit.
    min_aspect: blocks are between `min_aspect` and 1 / `min_aspect` times as
      high as wide, log-uniformly.

  Returns:
    bool [H, W], True = hidden.

  Raises:
    ValueError: an argument is outside its range.

  Source: BEiT (arXiv 2106.08254), algorithm 1, with the details of its code:
  ten proposals per block, blocks smaller than the grid on both sides, and no
  block that adds more than is still wanted. The reference stops short when ten
  proposals in a row do not fit (31 % of the draws for 120 of 14 x 14, by 1.6
  patches on average). We instead add single patches, each drawn uniformly from
  those next to a hidden one, so that every mask has the same size.
  """
  _check_count(grid, num_masked)
  _check_block(min_block, max_block, min_aspect)
  rows, cols = grid
  bits = 0
  limits = (min_block, max_block, min_aspect)
  for top, left, height, width in _blocks(rng, grid, num_masked, *limits):
    bits |= _rectangle(height, width, cols) << (top * cols + left)
  return _unpack(_grow(rng, bits, grid, num_masked), rows, cols)


def random_mask(
  rng: np.random.Generator, grid: Grid, num_masked: int
) -> np.ndarray:
  """Draws a mask of `num_masked` patches, all choices equally likely.

  Args:
    rng: the only source of randomness.
    grid: patches per column and per row, (H, W).
    num_masked: patches to hide, 1 to H * W - 1.

  Returns:
    bool [H, W], True = hidden.

  Raises:
    ValueError: `num_masked` is outside its range.
  """
  _check_count(grid, num_masked)
  rows, cols = grid
  mask = np.zeros(rows * cols, bool)
  mask[rng.choice(rows * cols, num_masked, replace=False, shuffle=False)] = True
  return mask.reshape(rows, cols)


@dataclasses.dataclass(frozen=True)
class BlockMask:
  """`block_mask` with its settings; give `num_masked` or `ratio`, not both.

  The default share is the reference's: 120 of 196 patches is a ratio of 0.612.
  """

  num_masked: int | None = None
  ratio: float | None = None
  min_block: int = 16
  max_block: int | None = None
  min_aspect: float = 0.3

  def __post_init__(self):
    _check_amount("BlockMask", self.num_masked, self.ratio)
    _check_block(self.min_block, self.max_block, self.min_aspect)

  def count(self, grid: Grid) -> int:
    """Returns the number of hidden patches, which is the same in each mask."""
    return _count(grid, self.num_masked, self.ratio)

  def __call__(self, rng: np.random.Generator, grid: Grid) -> np.ndarray:
    """Returns a fresh mask, bool [H, W]."""
    limits = (self.min_block, self.max_block, self.min_aspect)
    return block_mask(rng, grid, self.count(grid), *limits)


@dataclasses.dataclass(frozen=True)
class RandomMask:
  """`random_mask` with its settings; give `num_masked` or `ratio`, not both.

  With `num_masks` it draws that many masks of each image, for data2vec 2.0 and
  for masked autoencoders.
  """

  num_masked: int | None = None
  ratio: float | None = None
  num_masks: int | None = None

  def __post_init__(self):
    _check_amount("RandomMask", self.num_masked, self.ratio)
    if self.num_masks is not None and self.num_masks < 1:
      raise ValueError(
        f"RandomMask: num_masks must be None or >= 1, got {self.num_masks}"
      )

  def count(self, grid: Grid) -> int:
    """Returns the number of hidden patches, which is the same in each mask."""
    return _count(grid, self.num_masked, self.ratio)

  def __call__(self, rng: np.random.Generator, grid: Grid) -> np.ndarray:
    """Returns a fresh mask, bool [H, W], or `num_masks` of them [M, H, W]."""
    count = self.count(grid)
    if self.num_masks is None:
      return random_mask(rng, grid, count)
    masks = [random_mask(rng, grid, count) for _ in range(self.num_masks)]
    return np.stack(masks)


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
    blocks.check_versions("InverseBlockMasks", self.num_masks, self.ratio)
    blocks.check_blocks(
      "InverseBlockMasks", 1 - self.ratio, self.adjust, self.length
    )

  def count(self, grid: tuple[int, int]) -> int:
    """Returns the number of hidden patches, the same in each mask."""
    size = math.prod(grid)
    visible = int(size * (1 - self.ratio))
    blocks.check_visible(
      "InverseBlockMasks", visible, size, "patches", self.ratio
    )
    return size - visible

  def __call__(
    self, rng: np.random.Generator, grid: tuple[int, int]
  ) -> np.ndarray:
    """Returns fresh masks, bool [M, H, W]."""
    self.count(grid)  # raises when the grid is too small
    settings = (self.ratio, self.adjust, self.length)
    return blocks.block_masks(
      rng, grid, self.num_masks, *settings, inverse=True
    )


MASKS = {
  "block": BlockMask,
  "inverse_block": InverseBlockMasks,
  "random": RandomMask,
}


def _blocks(
  rng: np.random.Generator,
  grid: Grid,
  num_masked: int,
  min_block: int,
  max_block: int | None,
  min_aspect: float,
) -> Iterator[tuple[int, int, int, int]]:
  """Yields the accepted (top, left, height, width), as the reference does."""
  # The grid is one Python integer, a bit for each patch: counting the patches
  # that a block would add is then two machine-word operations.
  rows, cols = grid
  log_aspect = math.log(min_aspect)
  largest = rows * cols if max_block is None else max_block
  uniforms = _uniforms(rng)
  masked, count = 0, 0
  while count < num_masked:
    cap = min(num_masked - count, largest)
    for u_area, u_aspect, u_top, u_left in itertools.islice(
      uniforms, _ATTEMPTS
    ):
      # Near the end `cap` is below `min_block`; the range just turns around.
      side = math.sqrt(min_block + (cap - min_block) * u_area)
      stretch = math.exp(log_aspect * (0.5 - u_aspect))
      height, width = round(side * stretch), round(side / stretch)
      if height >= rows or width >= cols:
        continue
      top = int(u_top * (rows - height + 1))
      left = int(u_left * (cols - width + 1))
      block = _rectangle(height, width, cols) << (top * cols + left)
      added = (block & ~masked).bit_count()
      if 0 < added <= cap:
        break
    else:
      return
    masked |= block
    count += added
    yield top, left, height, width


def _uniforms(rng: np.random.Generator) -> Iterator[list[float]]:
  """Yields rows of four uniforms, drawn many at a time."""
  while True:
    yield from rng.random((32, 4)).tolist()


def _grow(
  rng: np.random.Generator, bits: int, grid: Grid, num_masked: int
) -> int:
  """Adds random neighbours of set bits until `num_masked` are set."""
  rows, cols = grid
  everything = (1 << (rows * cols)) - 1
  first = _rectangle(rows, 1, cols)
  last = first << (cols - 1)
  for u in rng.random(num_masked - bits.bit_count()).tolist():
    sideways = (bits & ~last) << 1 | (bits & ~first) >> 1
    near = (sideways | bits << cols | bits >> cols) & everything & ~bits
    near = near or everything  # nothing is hidden yet: anywhere
    for _ in range(int(u * near.bit_count())):
      near &= near - 1  # drops the lowest set bit
    bits |= near & -near
  return bits


@functools.cache
def _rectangle(height: int, width: int, cols: int) -> int:
  """Returns the bits of a rectangle in the grid's first corner."""
  row = (1 << width) - 1
  return sum(row << (r * cols) for r in range(height))


def _unpack(bits: int, rows: int, cols: int) -> np.ndarray:
  """Turns bit r * cols + c into element [r, c] of a bool array."""
  size = rows * cols
  raw = np.frombuffer(bits.to_bytes((size + 7) // 8, "little"), np.uint8)
  flat = np.unpackbits(raw, count=size, bitorder="little")
  return flat.view(bool).reshape(rows, cols)


def _count(grid: Grid, num_masked: int | None, ratio: float | None) -> int:
  size = grid[0] * grid[1]
  count = round(ratio * size) if num_masked is None else num_masked
  _check_count(grid, count)
  return count


def _check_count(grid: Grid, num_masked: int) -> None:
  size = grid[0] * grid[1]
  if not 1 <= num_masked < size:
    raise ValueError(
      f"mask: cannot hide {num_masked} of the {size} patches of a "
      f"{grid[0]} x {grid[1]} grid; allowed are 1 to {size - 1}: change "
      "num_masked or ratio, or the image and patch size"
    )


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


def _check_block(
  min_block: int, max_block: int | None, min_aspect: float
) -> None:
  if min_block < 1:
    raise ValueError(f"block mask: min_block must be >= 1, got {min_block}")
  if max_block is not None and max_block < min_block:
    raise ValueError(
      f"block mask: max_block must be None or >= min_block={min_block}, "
      f"got {max_block}"
    )
  if not 0 < min_aspect <= 1:
    raise ValueError(
      f"block mask: min_aspect must be above 0 and at most 1, got {min_aspect}"
    )
