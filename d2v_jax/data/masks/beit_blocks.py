"""Random rectangles of patches that hide an exact number of them, as in BEiT.

A grid of H x W patches is one Python integer here, a bit for each patch: bit
r * W + c is patch (r, c). Counting the patches that a block would add is then
two operations on a few machine words.
"""

import functools
import itertools
import math
from collections.abc import Iterator

import numpy as np

Grid = tuple[int, int]

_ATTEMPTS = 10  # per block, then the reference gives up


def draw_beit_blocks(
  rng: np.random.Generator,
  grid: Grid,
  num_masked: int,
  min_block: int,
  max_block: int | None,
  min_aspect: float,
) -> np.ndarray:
  """Hides random rectangles with exactly `num_masked` patches.

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

  Source: BEiT (arXiv 2106.08254), algorithm 1, with the details of its code:
  ten proposals per block, blocks smaller than the grid on both sides, and no
  block that adds more than is missing. The reference stops short when ten
  proposals in a row do not fit (31 % of the draws for 120 of 14 x 14, by 1.6
  patches on average). We instead add single patches, each drawn uniformly from
  those next to a hidden one, so that every mask has the same size.
  """
  rows, cols = grid
  bits = 0
  limits = (min_block, max_block, min_aspect)
  for top, left, height, width in _blocks(rng, grid, num_masked, *limits):
    bits |= _rectangle(height, width, cols) << (top * cols + left)
  return _unpack(_grow(rng, bits, grid, num_masked), rows, cols)


def _blocks(
  rng: np.random.Generator,
  grid: Grid,
  num_masked: int,
  min_block: int,
  max_block: int | None,
  min_aspect: float,
) -> Iterator[tuple[int, int, int, int]]:
  """Yields the accepted (top, left, height, width), as the reference does."""
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
      # area ~ U(min_block, cap); near the end `cap` is below `min_block`, and
      # the range just turns around.
      side = math.sqrt(min_block + (cap - min_block) * u_area)
      # height / width = stretch^2, log-uniform in (min_aspect, 1 / min_aspect)
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
  first = _rectangle(rows, 1, cols)  # the grid's first column
  last = first << (cols - 1)
  for u in rng.random(num_masked - bits.bit_count()).tolist():
    sideways = (bits & ~last) << 1 | (bits & ~first) >> 1
    near = (sideways | bits << cols | bits >> cols) & everything & ~bits
    near = near or everything  # nothing is hidden yet: anywhere
    for _ in range(int(u * near.bit_count())):
      near &= near - 1  # drops the lowest set bit
    bits |= near & -near  # adds the lowest set bit
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
  flat = np.unpackbits(raw, count=size, bitorder="little")  # [H * W]
  return flat.view(bool).reshape(rows, cols)
