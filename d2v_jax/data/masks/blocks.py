"""Sets of blocks of an exact size, and which tokens they leave visible.

What the masks of data2vec 2.0 share. In all three modalities a mask has an
exact size, so that the visible tokens fit into an array without padding. A
share of N tokens is a number cut off, not rounded, as the floats of the
released code have it: 0.8 of 196 patches hidden leave 39 visible.
"""

import math

import numpy as np


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
  centres = rng.integers(0, math.prod(grid), (num_masks, num_blocks, 1))
  steps = np.indices((length,) * len(grid)).reshape(len(grid), -1)
  steps -= length // 2
  rows = np.arange(num_masks)[:, None, None]
  places = np.indices(grid).reshape(len(grid), -1)
  # A centre's coordinates [M, blocks, 1] become those of all its cells.
  cells = [
    np.clip(place[centres] + step, 0, side - 1)
    for place, step, side in zip(places, steps, grid, strict=True)
  ]
  marked[rows, *cells] = True
  return marked


def force_count(
  rng: np.random.Generator, marked: np.ndarray, count: int
) -> np.ndarray:
  """Marks `count` tokens of each row, those of `marked` as far as they go.

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
  keys = rng.random(marked.shape) + marked
  first = marked.shape[1] - count
  chosen = np.argpartition(keys, first, axis=1)[:, first:]
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
  # This order of operations: others cut off to another number now and then.
  num_blocks = int(size * ((share + adjust) / length ** len(grid)))
  marked = draw_blocks(rng, grid, num_masks, num_blocks, length)
  marked = marked.reshape(num_masks, size)
  marked = force_count(rng, marked, int(size * share))
  return (~marked if inverse else marked).reshape(num_masks, *grid)


def keep_ids(mask: np.ndarray, num_visible: int) -> np.ndarray:
  """Returns which tokens are encoded: the first V that are not hidden.

  Args:
    mask: bool [M, N], True = hidden; at least V of each row are not.
    num_visible: V. Padding stands last, so it is what fills up a row that has
      fewer real visible tokens.

  Returns:
    int32 [M, V], ascending.
  """
  order = np.argsort(mask, axis=1, kind="stable")
  return order[:, :num_visible].astype(np.int32)


def check_versions(name: str, num_masks: int, ratio: float) -> None:
  """Raises ValueError unless there are masks, and their share is one."""
  if num_masks < 1:
    raise ValueError(f"{name}: num_masks must be >= 1, got {num_masks}")
  if not 0 < ratio < 1:
    raise ValueError(
      f"{name}: ratio must be between 0 and 1 (both excluded), got {ratio}"
    )


def check_blocks(name: str, share: float, adjust: float, length: int) -> None:
  """Raises ValueError unless the arguments describe blocks."""
  if length < 1:
    raise ValueError(f"{name}: length must be >= 1, got {length}")
  if share + adjust < 0:
    raise ValueError(
      f"{name}: adjust must be at least -{share:g} (minus the share that "
      f"blocks are for), got {adjust}"
    )


def check_visible(
  name: str, visible: int, size: int, tokens: str, ratio: float
) -> None:
  """Raises ValueError unless some tokens are hidden and some are not."""
  if not 0 < visible < size:
    raise ValueError(
      f"{name}: with ratio={ratio}, {visible} of {size} {tokens} stay visible; "
      f"allowed are 1 to {size - 1}: change the ratio, or give longer inputs"
    )


def check_real(name: str, real: int, total: int, tokens: str) -> None:
  """Raises ValueError unless an example has 1 to `total` real tokens."""
  if not 1 <= real <= total:
    raise ValueError(
      f"{name}: got {real} real {tokens} of {total}; allowed are 1 to {total}: "
      "leave out shorter inputs"
    )
