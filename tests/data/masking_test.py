import json
import os
import pathlib
import random

import numpy as np
import pytest
from scipy import stats

from d2v_jax.data import masking
from tests.reference import masking as reference

GOLDENS = pathlib.Path(
  os.environ.get(
    "D2V_GOLDENS",
    pathlib.Path(__file__).parents[2] / ".." / "shared" / "goldens",
  )
)
CASES = ("beit14_120", "fairseq_default14_75", "tiny4")
DRAWS = 2000
# Each statistical test has a fixed seed, so it either always passes or never.
# The level only says how unlikely a correct draw would have been to fail.
LEVEL = 1e-3


@pytest.fixture(params=CASES)
def golden(request):
  """One configuration of the reference: settings and recorded statistics."""
  path = GOLDENS / "pure_block_masks.npz"
  if not path.exists():
    pytest.skip(f"no golden masks at {path}; set D2V_GOLDENS")
  with np.load(path) as file:
    config = json.loads(str(file["meta"]))["configs"][request.param]
    prefix = f"beit/{request.param}/"
    values = {
      key.removeprefix(prefix): file[key] for key in file if prefix in key
    }
  settings = {
    "num_masked": config["num_mask_patches"],
    "min_block": config["min_mask_patches_per_block"],
    "max_block": config["max_mask_patches_per_block"],
  }
  return (config["grid"],) * 2, settings, values


def reference_rule(rng, grid, settings):
  """Masks made of our blocks only, without the filling: as the reference's."""
  masks = np.zeros((DRAWS, *grid), bool)
  first_sizes = np.zeros((grid[0] + 1, grid[1] + 1), int)
  for mask in masks:
    blocks = list(masking._blocks(rng, grid, **settings, min_aspect=0.3))
    for top, left, height, width in blocks:
      mask[top : top + height, left : left + width] = True
    first_sizes[blocks[0][2:]] += 1
  return masks, first_sizes


def same_histogram(ours, theirs):
  """P-value of two histograms being drawn from the same distribution."""
  counts = np.stack([ours.ravel(), theirs.ravel()])
  rare = counts.sum(0) < 20  # too few for the chi-square approximation
  pooled = np.column_stack([counts[:, ~rare], counts[:, rare].sum(1)])
  return stats.chi2_contingency(pooled[:, pooled.sum(0) > 0]).pvalue


def position_z(masks, theirs):
  """Largest |z| over positions between two samples of DRAWS masks."""
  ours = masks.sum(0)
  share = (ours + theirs) / (2 * DRAWS)
  z = (ours - theirs) / np.sqrt(2 * DRAWS * share * (1 - share))
  return np.abs(z).max()


def equal_neighbours(masks):
  """Share of the pairs of neighbours that are alike, per mask."""
  across = (masks[:, :, 1:] == masks[:, :, :-1]).sum((1, 2))
  down = (masks[:, 1:] == masks[:, :-1]).sum((1, 2))
  rows, cols = masks.shape[1:]
  return (across + down) / (rows * (cols - 1) + cols * (rows - 1))


def test_reference_reproduces_the_recorded_masks(golden):
  grid, settings, values = golden
  random.seed(1000)
  masks = [reference.block_mask(*grid, **settings) for _ in range(16)]
  np.testing.assert_array_equal(masks, values["exact"])


def test_blocks_follow_the_reference(golden):
  grid, settings, values = golden
  masks, first_sizes = reference_rule(np.random.default_rng(0), grid, settings)
  counts = np.bincount(masks.sum((1, 2)), minlength=masks[0].size + 1)
  assert same_histogram(counts, values["count_hist"]) > LEVEL
  assert same_histogram(first_sizes, values["first_block_hw_hist"]) > LEVEL
  # Bonferroni: holds whatever the dependence between positions.
  limit = stats.norm.isf(LEVEL / 2 / masks[0].size)
  assert position_z(masks, values["pos_count"]) < limit
  alike = equal_neighbours(masks)
  equal, pairs = values["neighbour_equal"]
  error = alike.std() * np.sqrt(2 / DRAWS)
  assert abs(alike.mean() - equal / pairs) < stats.norm.isf(LEVEL / 2) * error


def test_filling_keeps_the_statistics_of_the_reference(golden):
  grid, settings, values = golden
  rng = np.random.default_rng(1)
  masks = np.stack(
    [masking.block_mask(rng, grid, **settings) for _ in range(DRAWS)]
  )
  assert (masks.sum((1, 2)) == settings["num_masked"]).all()
  # The filling hides 0.4 % more patches than the reference: within the noise.
  limit = stats.norm.isf(LEVEL / 2 / masks[0].size)
  assert position_z(masks, values["pos_count"]) < limit
  equal, pairs = values["neighbour_equal"]
  np.testing.assert_allclose(
    equal_neighbours(masks).mean(), equal / pairs, rtol=0.01
  )


@pytest.mark.parametrize("grid", [(1, 5), (5, 1), (2, 2), (7, 3), (30, 20)])
def test_count_is_exact_on_any_grid(grid):
  rng = np.random.default_rng(0)
  size = grid[0] * grid[1]
  for num_masked in {1, 2, size // 2, size - 1}:
    for draw in (masking.block_mask, masking.random_mask):
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
    grown = masking._unpack(masking._grow(rng, bits, (6, 7), 2), 6, 7)
    drawn += grown & ~start
  assert {tuple(at) for at in np.argwhere(drawn)} == {(1, 6), (3, 6), (2, 5)}
  assert stats.chisquare(drawn[drawn > 0]).pvalue > LEVEL


def test_random_mask_is_uniform():
  rng = np.random.default_rng(0)
  hits = sum(masking.random_mask(rng, (4, 4), 6) for _ in range(DRAWS))
  expected = DRAWS * 6 / 16
  z = (hits - expected) / np.sqrt(DRAWS * (6 / 16) * (10 / 16))
  assert np.abs(z).max() < stats.norm.isf(LEVEL / 2 / 16)


@pytest.mark.parametrize("kind", ["block", "random"])
def test_masks_depend_on_the_generator_alone(kind):
  draw = masking.MASKS[kind](ratio=0.6)
  assert draw.count((14, 14)) == 118
  first = draw(np.random.default_rng(3), (14, 14))
  again = draw(np.random.default_rng(3), (14, 14))
  other = draw(np.random.default_rng(4), (14, 14))
  np.testing.assert_array_equal(first, again)
  assert (first != other).any()


def test_max_block_limits_what_a_block_adds():
  rng = np.random.default_rng(0)
  for _ in range(50):
    blocks = masking._blocks(rng, (14, 14), 60, 4, 9, 0.3)
    mask = np.zeros((14, 14), bool)
    for top, left, height, width in blocks:
      before = mask.sum()
      mask[top : top + height, left : left + width] = True
      assert 0 < mask.sum() - before <= 9


@pytest.mark.parametrize(
  ("make", "message"),
  [
    (lambda: masking.BlockMask(), "give exactly one of the two"),
    (lambda: masking.RandomMask(3, 0.5), "give exactly one of the two"),
    (lambda: masking.BlockMask(ratio=1.0), "ratio must be between 0 and 1"),
    (lambda: masking.BlockMask(9, min_block=0), "min_block must be >= 1"),
    (lambda: masking.BlockMask(9, max_block=5), "max_block must be None or >="),
    (lambda: masking.BlockMask(9, min_aspect=2), "min_aspect must be above 0"),
    (lambda: masking.BlockMask(16).count((4, 4)), "allowed are 1 to 15"),
    (lambda: masking.RandomMask(0).count((4, 4)), "cannot hide 0 of the 16"),
    (lambda: masking.BlockMask(ratio=0.1).count((2, 2)), "cannot hide 0"),
  ],
)
def test_errors(make, message):
  with pytest.raises(ValueError, match=message):
    make()
