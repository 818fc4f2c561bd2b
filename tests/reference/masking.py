"""BEiT's blockwise masking in plain Python, cell by cell.

Source: BEiT (arXiv 2106.08254), algorithm 1; the order of the random calls is
that of the published code, so that a seed gives its masks.
"""

import math
import random

import numpy as np


def block_mask(
  rows: int,
  cols: int,
  num_masked: int,
  min_block: int,
  max_block: int,
  min_aspect: float = 0.3,
) -> np.ndarray:
  """Returns int [rows, cols]; may hide fewer than `num_masked`."""
  mask = np.zeros((rows, cols), int)
  count = 0
  while count < num_masked:
    added = _add_block(
      mask, min(num_masked - count, max_block), min_block, min_aspect
    )
    if added == 0:
      break
    count += added
  return mask


def _add_block(mask, cap, min_block, min_aspect) -> int:
  rows, cols = mask.shape
  log_aspect = (math.log(min_aspect), math.log(1 / min_aspect))
  for _ in range(10):
    area = random.uniform(min_block, cap)
    aspect = math.exp(random.uniform(*log_aspect))
    height = round(math.sqrt(area * aspect))
    width = round(math.sqrt(area / aspect))
    if height >= rows or width >= cols:
      continue
    top = random.randint(0, rows - height)
    left = random.randint(0, cols - width)
    already = mask[top : top + height, left : left + width].sum()
    if not 0 < height * width - already <= cap:
      continue
    added = 0
    for row in range(top, top + height):
      for col in range(left, left + width):
        if mask[row, col] == 0:
          mask[row, col] = 1
          added += 1
    return added
  return 0
