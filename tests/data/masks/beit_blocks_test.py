import numpy as np
from scipy import stats

from d2v_jax.data.masks import beit_blocks

# Each statistical test has a fixed seed, so it either always passes or never.
# The level only says how unlikely a correct draw would have been to fail.
LEVEL = 1e-3


def test_single_patches_grow_from_masked_ones():
  rng = np.random.default_rng(0)
  start = np.zeros((6, 7), bool)
  start[2, 6] = True  # at the edge: the next row's first patch is no neighbour
  bits = 1 << (2 * 7 + 6)
  drawn = np.zeros_like(start, int)
  for _ in range(300):
    grown = beit_blocks._unpack(beit_blocks._grow(rng, bits, (6, 7), 2), 6, 7)
    drawn += grown & ~start
  assert {tuple(at) for at in np.argwhere(drawn)} == {(1, 6), (3, 6), (2, 5)}
  assert stats.chisquare(drawn[drawn > 0]).pvalue > LEVEL


def test_max_block_limits_what_a_block_adds():
  rng = np.random.default_rng(0)
  for _ in range(50):
    blocks = beit_blocks._blocks(rng, (14, 14), 60, 4, 9, 0.3)
    mask = np.zeros((14, 14), bool)
    for top, left, height, width in blocks:
      before = mask.sum()
      mask[top : top + height, left : left + width] = True
      assert 0 < mask.sum() - before <= 9


def test_blocks_are_smaller_than_the_grid_on_both_sides():
  rng = np.random.default_rng(0)
  sizes = [
    (height, width)
    for _ in range(200)
    for _, _, height, width in beit_blocks._blocks(
      rng, (4, 6), 20, 2, None, 0.1
    )
  ]
  assert np.max(sizes, axis=0).tolist() == [3, 5]
