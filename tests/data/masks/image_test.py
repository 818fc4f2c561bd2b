import numpy as np
import pytest
from scipy import stats

from d2v_jax.data.masks import image as image_masks

DRAWS = 2000
# Each statistical test has a fixed seed, so it either always passes or never.
# The level only says how unlikely a correct draw would have been to fail.
LEVEL = 1e-3


@pytest.mark.parametrize("grid", [(1, 5), (5, 1), (2, 2), (7, 3), (30, 20)])
def test_count_is_exact_on_any_grid(grid):
  rng = np.random.default_rng(0)
  size = grid[0] * grid[1]
  for num_masked in {1, 2, size // 2, size - 1}:
    for draw in (image_masks.block_mask, image_masks.random_mask):
      mask = draw(rng, grid, num_masked)
      assert mask.dtype == bool and mask.shape == grid
      assert mask.sum() == num_masked


def test_single_patches_grow_from_masked_ones():
  rng = np.random.default_rng(0)
  start = np.zeros((6, 7), bool)
  start[2, 6] = True  # at the edge: the next row's first patch is no neighbour
  bits = 1 << (2 * 7 + 6)
  drawn = np.zeros_like(start, int)
  for _ in range(300):
    grown = image_masks._unpack(image_masks._grow(rng, bits, (6, 7), 2), 6, 7)
    drawn += grown & ~start
  assert {tuple(at) for at in np.argwhere(drawn)} == {(1, 6), (3, 6), (2, 5)}
  assert stats.chisquare(drawn[drawn > 0]).pvalue > LEVEL


def test_random_mask_is_uniform():
  rng = np.random.default_rng(0)
  hits = sum(image_masks.random_mask(rng, (4, 4), 6) for _ in range(DRAWS))
  expected = DRAWS * 6 / 16
  z = (hits - expected) / np.sqrt(DRAWS * (6 / 16) * (10 / 16))
  assert np.abs(z).max() < stats.norm.isf(LEVEL / 2 / 16)


@pytest.mark.parametrize("kind", ["block", "random"])
def test_masks_depend_on_the_generator_alone(kind):
  draw = image_masks.MASKS[kind](ratio=0.6)
  assert draw.count((14, 14)) == 118
  first = draw(np.random.default_rng(3), (14, 14))
  again = draw(np.random.default_rng(3), (14, 14))
  other = draw(np.random.default_rng(4), (14, 14))
  np.testing.assert_array_equal(first, again)
  assert (first != other).any()


def test_max_block_limits_what_a_block_adds():
  rng = np.random.default_rng(0)
  for _ in range(50):
    blocks = image_masks._blocks(rng, (14, 14), 60, 4, 9, 0.3)
    mask = np.zeros((14, 14), bool)
    for top, left, height, width in blocks:
      before = mask.sum()
      mask[top : top + height, left : left + width] = True
      assert 0 < mask.sum() - before <= 9


@pytest.mark.parametrize(
  ("make", "message"),
  [
    (lambda: image_masks.BlockMask(), "give exactly one of the two"),
    (lambda: image_masks.RandomMask(3, 0.5), "give exactly one of the two"),
    (lambda: image_masks.BlockMask(ratio=1.0), "ratio must be between 0 and 1"),
    (lambda: image_masks.BlockMask(9, min_block=0), "min_block must be >= 1"),
    (
      lambda: image_masks.BlockMask(9, max_block=5),
      "max_block must be None or >=",
    ),
    (
      lambda: image_masks.BlockMask(9, min_aspect=2),
      "min_aspect must be above 0",
    ),
    (lambda: image_masks.BlockMask(16).count((4, 4)), "allowed are 1 to 15"),
    (
      lambda: image_masks.RandomMask(0).count((4, 4)),
      "cannot hide 0 of the 16",
    ),
    (lambda: image_masks.BlockMask(ratio=0.1).count((2, 2)), "cannot hide 0"),
  ],
)
def test_errors(make, message):
  with pytest.raises(ValueError, match=message):
    make()
