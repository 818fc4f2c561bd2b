"""Statistics of masks, and how two samples of them are compared."""

import numpy as np
from scipy import stats

# Each statistical test has a fixed seed, so it either always passes or never.
# The level only says how unlikely a correct draw would have been to fail.
LEVEL = 1e-3


def histogram(values: np.ndarray, largest: int) -> np.ndarray:
  """How often each of 0, ..., `largest` occurs."""
  return np.bincount(values, minlength=largest + 1)


def runs(mask: np.ndarray) -> np.ndarray:
  """Lengths of the runs of hidden positions."""
  edges = np.flatnonzero(np.diff(np.concatenate([[0], mask, [0]])))
  return edges[1::2] - edges[::2]


def check_count(ours: int, theirs: np.ndarray, rounding: float) -> None:
  """Our one count is the mean of theirs, but for what rounding makes of it."""
  error = stats.norm.isf(LEVEL / 2) * theirs.std() / np.sqrt(len(theirs))
  assert abs(ours - theirs.mean()) < rounding + error


def check_positions(
  masks: np.ndarray, theirs: np.ndarray, bias: float = 0.0
) -> None:
  """Compares how often each position is masked, in samples of the same size.

  Args:
    masks: our sample, bool [draws, ...].
    theirs: how often theirs masks each position.
    bias: largest difference of the shares that is no error.
  """
  ours, draws = masks.sum(0), len(masks)
  share = (ours + theirs) / (2 * draws)
  noise = np.sqrt(2 * share * (1 - share) / draws)
  # Bonferroni: holds whatever the dependence between positions.
  limit = stats.norm.isf(LEVEL / 2 / masks[0].size) * noise
  assert (np.abs(ours - theirs) / draws <= bias + limit).all()


def same_histogram(ours: np.ndarray, theirs: np.ndarray) -> float:
  """P-value of two histograms being drawn from the same distribution."""
  counts = np.stack([ours.ravel(), theirs.ravel()])
  rare = counts.sum(0) < 20  # too few for the chi-square approximation
  pooled = np.column_stack([counts[:, ~rare], counts[:, rare].sum(1)])
  return stats.chi2_contingency(pooled[:, pooled.sum(0) > 0]).pvalue


def equal_neighbours(masks: np.ndarray) -> np.ndarray:
  """Share of the pairs of neighbours that are alike, of masks [n, H, W]."""
  across = (masks[:, :, 1:] == masks[:, :, :-1]).sum((1, 2))
  down = (masks[:, 1:] == masks[:, :-1]).sum((1, 2))
  return (across + down) / num_pairs(masks.shape[1:])


def num_pairs(grid: tuple[int, int]) -> int:
  """Pairs of neighbours in a grid (H, W)."""
  rows, columns = grid
  return rows * (columns - 1) + columns * (rows - 1)
