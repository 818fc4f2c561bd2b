"""The references' masks in plain Python and numpy: blocks, spans and tokens.

The order of the random calls is that of the published code, so that a seed
gives its masks.
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
  """Returns int [rows, cols]; may hide fewer than `num_masked`.

  Source: BEiT (arXiv 2106.08254), algorithm 1.
  """
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


def row_rng(seed: int, epoch: int, index: int) -> np.random.Generator:
  """The generator that the released code gives each row of each epoch."""
  return np.random.default_rng(int(hash((seed, epoch, index)) % 1e6))


def span_starts(
  rng: np.random.Generator,
  size: int,
  prob: float,
  length: int,
  min_masks: int = 1,
) -> np.ndarray:
  """Returns the starts of one row's spans, before anything is equalised."""
  num_spans = max(min_masks, int(prob * size / length + rng.random()))
  keep_off = length
  if size - keep_off <= num_spans:
    keep_off = size - num_spans - 1
  return rng.choice(size - keep_off, num_spans, replace=False)


def span_masks(
  rngs: list[np.random.Generator],
  sizes: list[int],
  total: int,
  prob: float,
  length: int,
  min_masks: int = 1,
  equal: bool = True,
) -> np.ndarray:
  """Returns bool [B, total]; if `equal`, each row hides as many frames.

  Source: the span masking of data2vec's speech model. Rows that hide more than
  the row that hides least show single frames again, drawn by the last row's
  generator.
  """
  rows = []
  for rng, size in zip(rngs, sizes, strict=True):
    starts = span_starts(rng, size, prob, length, min_masks)
    rows.append(np.flatnonzero(_union(starts, length, size)))
  fewest = min(len(row) for row in rows)
  masks = np.zeros((len(rows), total), bool)
  for mask, row in zip(masks, rows, strict=True):
    if equal and len(row) > fewest:
      row = rngs[-1].choice(row, fewest, replace=False)
    mask[row] = True
  return masks


def token_mask(
  rng: np.random.Generator,
  tokens: np.ndarray,
  vocab_size: int,
  prob: float,
  length: int = 1,
  random: float = 0.0,
  keep: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
  """Returns (bool [N] of the selected tokens, int [N] the student's input).

  Source: the token masking of data2vec's text model (RoBERTa's). `<mask>` is
  the last id, and ids 0 to 3 are never drawn as replacements.
  """
  size = len(tokens)
  num_spans = int(prob * size / length + rng.random())
  starts = rng.choice(size, num_spans, replace=False)
  selected = _union(starts, length, size)
  changed = np.zeros(size, bool)
  kept = np.zeros(size, bool)
  if random + keep > 0:
    special = selected & (rng.random(size) < random + keep)
    kept = special & (rng.random(size) < keep / (random + keep))
    changed = special & ~kept
  student = tokens.copy()
  student[selected & ~kept] = vocab_size - 1
  if changed.any():
    uniform = np.ones(vocab_size)
    uniform[:4] = 0
    uniform /= uniform.sum()
    student[changed] = rng.choice(vocab_size, changed.sum(), p=uniform)
  return selected, student


def _union(starts, length, size):
  hidden = np.zeros(size, bool)
  for start in starts:
    hidden[start : start + length] = True
  return hidden


def block_version(
  rng: np.random.Generator,
  grid: tuple[int, ...],
  ratio: float,
  adjust: float,
  length: int,
  inverse: bool,
) -> np.ndarray:
  """Returns one mask of data2vec 2.0, bool [*grid], True = hidden.

  Source: data2vec 2.0 (arXiv 2212.07525) and its code, one token after another.
  """
  cells = list(np.ndindex(grid))
  wanted = 1.0 - ratio if inverse else ratio
  marked = set()
  per_block = math.prod(length for _ in grid)
  for _ in range(int(len(cells) * ((wanted + adjust) / per_block))):
    centre = cells[rng.integers(len(cells))]
    for offset in np.ndindex(*(length for _ in grid)):
      place = [c + o - length // 2 for c, o in zip(centre, offset, strict=True)]
      inside = [max(0, min(n - 1, p)) for p, n in zip(place, grid, strict=True)]
      marked.add(tuple(inside))
  target = int(len(cells) * wanted)
  while len(marked) > target:
    drop = sorted(marked)[rng.integers(len(marked))]
    marked.remove(drop)
  while len(marked) < target:
    others = [cell for cell in cells if cell not in marked]
    marked.add(others[rng.integers(len(others))])
  mask = np.full(grid, inverse)
  for cell in marked:
    mask[cell] = not inverse
  return mask
