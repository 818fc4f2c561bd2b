import math

import numpy as np
import pytest
from scipy import stats

from d2v_jax.data.masks import blocks
from tests.reference import masking as reference

DRAWS = 2000
# Each statistical test has a fixed seed, so it either always passes or never.
# The level only says how unlikely a correct draw would have been to fail.
LEVEL = 1e-3

# The released settings: (ratio, adjust, length, inverse), size, visible tokens
# and mean number of tokens in blocks before they are corrected.
RELEASED = {
  "vit_base": ((0.8, 0.07, 3, True), (14, 14), 39, 37.6),
  "vit_large": ((0.75, 0.1, 3, True), (14, 14), 49, 50.4),
  "vit_huge": ((0.75, 0.1, 3, True), (16, 16), 64, 65.1),
  "speech_base": ((0.5, 0.05, 5, False), (781,), 391, 0.42 * 781),
}
OTHERS = {
  "speech_base": ((0.5, 0.05, 5, False), (150,), 75, None),  # quicker
  "one_block": ((0.8, 0.07, 3, True), (5, 7), 6, None),
  "even_length": ((0.6, 0.1, 4, False), (9, 6), 22, None),
  "single_tokens": ((0.5, 0.0, 1, False), (4, 5), 10, None),
  "no_block": ((0.9, 0.0, 3, True), (5, 5), 2, None),
  "many_blocks": ((0.3, 1.5, 3, False), (6, 6), 26, None),
  "one_axis_inverse": ((0.7, 0.1, 5, True), (31,), 9, None),
  "large_length": ((0.5, 0.5, 9, False), (4, 20), 40, None),
}
CASES = {k: v[:3] for k, v in (RELEASED | OTHERS).items()}


def num_blocks(settings, grid):
  ratio, adjust, length, inverse = settings
  share = 1 - ratio if inverse else ratio
  return int(math.prod(grid) * ((share + adjust) / length ** len(grid)))


def z_scores(ours, theirs, draws):
  """Of counts in two samples of the same size."""
  share = (ours + theirs) / (2 * draws)
  scale = np.sqrt(2 * draws * share * (1 - share))
  return (ours - theirs) / np.where(scale > 0, scale, 1)


@pytest.mark.parametrize("name", CASES)
def test_masks_are_those_of_the_reference(name):
  settings, grid, visible = CASES[name]
  ours = blocks.block_masks(np.random.default_rng(0), grid, DRAWS, *settings)
  rng = np.random.default_rng(1)
  theirs = np.array(
    [reference.block_version(rng, grid, *settings) for _ in range(DRAWS)]
  )
  assert ours.dtype == bool and ours.shape == (DRAWS, *grid)
  axes = tuple(range(1, 1 + len(grid)))
  assert ((~ours).sum(axes) == visible).all()
  assert ((~theirs).sum(axes) == visible).all()
  z = z_scores(ours.sum(0), theirs.sum(0), DRAWS)
  # Bonferroni: holds whatever the dependence between positions.
  assert np.abs(z).max() < stats.norm.isf(LEVEL / 2 / math.prod(grid))
  # Pairs at small distances hide together as often.
  for axis in axes:
    for distance in range(1, min(settings[2] + 2, grid[axis - 1])):
      together = [
        (
          np.take(m, range(distance, grid[axis - 1]), axis)
          & np.take(m, range(grid[axis - 1] - distance), axis)
        ).reshape(DRAWS, -1)
        for m in (ours, theirs)
      ]
      sums = [t.sum(1) for t in together]
      error = np.sqrt(sum(s.var() for s in sums) / DRAWS)
      gap = abs(sums[0].mean() - sums[1].mean())
      assert gap < stats.norm.isf(LEVEL / 2 / 20) * max(error, 1e-9), distance


@pytest.mark.parametrize("name", RELEASED)
def test_blocks_before_they_are_corrected(name):
  settings, grid, _, known = RELEASED[name]
  num, length = num_blocks(settings, grid), settings[2]
  drawn = blocks.draw_blocks(np.random.default_rng(0), grid, DRAWS, num, length)
  # A token is out of all blocks if no centre is within reach.
  reach = np.zeros(grid)
  for centre in np.ndindex(grid):
    for cell in np.ndindex(grid):
      far = max(abs(a - b) for a, b in zip(centre, cell, strict=True))
      reach[cell] += far <= length // 2
  share = 1 - (1 - reach / math.prod(grid)) ** num
  z = (drawn.sum(0) - DRAWS * share) / np.sqrt(DRAWS * share * (1 - share))
  assert np.abs(z).max() < stats.norm.isf(LEVEL / 2 / math.prod(grid))
  # As measured by running the released code, to its last digit.
  np.testing.assert_allclose(share.sum(), known, rtol=0.005)


def test_blocks_are_cut_off_at_the_border():
  class Centres:
    def integers(self, low, high, size):
      assert (low, high, size) == (0, 20, (3, 1, 1))
      return np.array([0, 7, 19]).reshape(3, 1, 1)

  drawn = blocks.draw_blocks(Centres(), (4, 5), 3, 1, 3)
  expected = np.zeros((3, 4, 5), bool)
  expected[0, :2, :2] = True
  expected[1, :3, 1:4] = True
  expected[2, 2:, 3:] = True
  np.testing.assert_array_equal(drawn, expected)
  # An even block reaches farther to the start.
  even = blocks.draw_blocks(Centres(), (20,), 3, 1, 4)
  for row, (start, stop) in zip(even, [(0, 2), (5, 9), (17, 20)], strict=True):
    assert np.flatnonzero(row).tolist() == list(range(start, stop))


def test_correction_is_uniform():
  rng = np.random.default_rng(0)
  marked = np.zeros((DRAWS, 12), bool)
  marked[:, :5] = True
  fewer = blocks.force_count(rng, marked, 2)
  assert (fewer.sum(1) == 2).all() and not fewer[:, 5:].any()
  pairs = np.bincount(fewer[:, :5] @ (2 ** np.arange(5)))
  assert (pairs > 0).sum() == 10  # all choices of two of five
  assert stats.chisquare(pairs[pairs > 0]).pvalue > LEVEL
  more = blocks.force_count(rng, marked, 7)
  assert (more.sum(1) == 7).all() and more[:, :5].all()
  pairs = np.bincount(more[:, 5:] @ (2 ** np.arange(7)))
  assert (pairs > 0).sum() == 21
  assert stats.chisquare(pairs[pairs > 0]).pvalue > LEVEL
  same = blocks.force_count(rng, marked, 5)
  np.testing.assert_array_equal(same, marked)
  assert not blocks.force_count(rng, marked, 0).any()
  assert blocks.force_count(rng, marked, 12).all()


def test_masks_of_an_example_are_independent():
  rng = np.random.default_rng(0)
  pairs = np.stack(
    [
      blocks.block_masks(rng, (14, 14), 2, 0.8, 0.07, 3, True)
      for _ in range(DRAWS)
    ]
  ).reshape(DRAWS, 2, 196)
  share = pairs.mean((0, 1))
  both = (pairs[:, 0] & pairs[:, 1]).mean(0)
  p = share**2
  z = (both - p) / np.sqrt(p * (1 - p) / DRAWS)
  assert np.abs(z).max() < stats.norm.isf(LEVEL / 2 / 196)
  assert (pairs[:, 0] != pairs[:, 1]).any(1).all()
