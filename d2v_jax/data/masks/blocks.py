"""Sets of blocks of an exact size, on a line or a plane of tokens.

What the masks of data2vec 2.0 share. In all three modalities a mask has an
exact size, so that the visible tokens fit into an array without padding. A
share of N tokens is a number cut off, not rounded, as the floats of the
released code have it: 0.8 of 196 patches hidden leave 39 visible.
"""

import math

import numpy as np

from d2v_jax.data.ranges import check_range

_LONGEST = 1000  # a block with more tokens along a side fills any input
_MOST_ADJUST = 10.0  # so many times as many blocks as tokens overlap anyway


def draw_blocks(
  rng: np.random.Generator,
  grid: tuple[int, ...],
  num_masks: int,
  num_blocks: int,
  length: int,
) -> np.ndarray:
  """Marks blocks around random centres, which may repeat.

  A block reaches length // 2 before its centre; what would be outside of the
  grid is cut off, so that blocks at a border are smaller.

  Args:
    rng: the only source of randomness.
    grid: tokens along each axis.
    num_masks: number of draws M.
    num_blocks: centres of each draw.
    length: side of a block, in tokens.

  Returns:
    bool [M, *grid].
  """
  marked = np.zeros((num_masks, *grid), bool)
  # Flat positions of the centres. [M, blocks, 1]
  centres = rng.integers(0, math.prod(grid), (num_masks, num_blocks, 1))
  # Offsets of a block's tokens from its centre. [axes, length ** axes]
  offsets = np.indices((length,) * len(grid)).reshape(len(grid), -1)
  offsets -= length // 2
  # Coordinates of each flat position. [axes, N]
  coordinates = np.indices(grid).reshape(len(grid), -1)
  # Coordinates of all tokens in blocks: of each axis
  # [M, blocks, length ** axes].
  tokens = [
    np.clip(x[centres] + offset, 0, side - 1)
    for x, offset, side in zip(coordinates, offsets, grid, strict=True)
  ]
  marked[np.arange(num_masks)[:, None, None], *tokens] = True
  return marked


def force_count(
  rng: np.random.Generator, marked: np.ndarray, count: int
) -> np.ndarray:
  """Marks `count` tokens of each mask, those of `marked` as far as they go.

  Of too many marked tokens random ones are dropped; to too few, random others
  are added. All choices are equally likely.

  Args:
    rng: the only source of randomness.
    marked: bool [M, N].
    count: 0 to N.

  Returns:
    bool [M, N].
  """
  out = np.zeros(marked.shape, bool)
  if count == 0:
    return out
  # U(0, 1), or U(1, 2) where marked: the largest keys are chosen. [M, N]
  keys = rng.random(marked.shape) + marked
  first = marked.shape[1] - count
  chosen = np.argpartition(keys, first, axis=1)[:, first:]  # [M, count]
  np.put_along_axis(out, chosen, True, axis=1)
  return out


def block_masks(
  rng: np.random.Generator,
  grid: tuple[int, ...],
  num_masks: int,
  ratio: float,
  adjust: float,
  length: int,
  inverse: bool,
) -> np.ndarray:
  """Draws masks made of blocks, of an exact size.

  Args:
    rng: the only source of randomness.
    grid: tokens along each axis: patches (H, W), or frames (N,).
    num_masks: number of masks M.
    ratio: hidden share.
    adjust: added to the share when blocks are counted, since they overlap.
    length: side of a block, in tokens.
    inverse: blocks are what stays visible, instead of what is hidden.

  Returns:
    bool [M, *grid], True = hidden.

  Source: data2vec 2.0 (arXiv 2212.07525) and its released code. With r the
  share that blocks are for (1 - ratio if `inverse`), there are
  floor(N (r + adjust) / length ** axes) centres, drawn with replacement, and
  exactly floor(N r) tokens in the end, of which `force_count` takes away or
  adds single ones.
  """
  share, size = (1 - ratio if inverse else ratio), math.prod(grid)
  # floor(N (r + adjust) / length ** axes), in this order of operations: others
  # cut off to another number now and then.
  num_blocks = int(size * ((share + adjust) / length ** len(grid)))
  marked = draw_blocks(rng, grid, num_masks, num_blocks, length)  # [M, *grid]
  marked = marked.reshape(num_masks, size)
  marked = force_count(rng, marked, int(size * share))  # [M, N]
  return (~marked if inverse else marked).reshape(num_masks, *grid)


def check_blocks(name: str, share: float, adjust: float, length: int) -> None:
  """Raises ValueError unless the arguments describe blocks."""
  check_range(name, "length", length, 1, _LONGEST)
  if not 0 <= share + adjust <= share + _MOST_ADJUST:
    raise ValueError(
      f"{name}: adjust must be at least -{share:g} (minus the share that "
      f"blocks are for) and at most {_MOST_ADJUST:g}, got {adjust}"
    )
