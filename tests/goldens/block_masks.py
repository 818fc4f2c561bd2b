"""Statistics of block masks against those of the reference code."""

import random

import numpy as np
from scipy import stats

from d2v_jax.data.masks import beit_blocks, blocks
from d2v_jax.data.masks.text import RandomTokenMask
from tests.data.masks.examples import padded
from tests.reference import masking as reference

# Each statistical test has a fixed seed, so it either always passes or never.
# The level only says how unlikely a correct draw would have been to fail.
LEVEL = 1e-3


def check(config: dict, golden: dict[str, np.ndarray]) -> None:
  """Compares one configuration: exact masks, blocks, and filled masks."""
  grid, draws = (config["grid"],) * 2, config["n"]
  settings = {
    "num_masked": config["num_mask_patches"],
    "min_block": config["min_mask_patches_per_block"],
    "max_block": config["max_mask_patches_per_block"],
  }
  random.seed(1000)
  exact = [
    reference.block_mask(*grid, **settings) for _ in range(len(golden["exact"]))
  ]
  np.testing.assert_array_equal(exact, golden["exact"])
  _check_blocks(grid, settings, draws, golden)
  _check_filled(grid, settings, draws, golden)


def check_versions(config: dict, golden: dict[str, np.ndarray]) -> None:
  """Masks of data2vec 2.0: exact counts, positions, and pairs of neighbours."""
  grid = golden["pos_count"].shape
  draws = config["shape"][0]
  assert config["shape"][1] == golden["pos_count"].size
  settings = {
    "ratio": config["mask_prob"],
    "adjust": config["mask_prob_adjust"],
    "length": config["mask_length"],
    "inverse": config["inverse_mask"],
  }
  ours = blocks.block_masks(np.random.default_rng(0), grid, draws, **settings)
  rng = np.random.default_rng(1)
  loops = [reference.block_version(rng, grid, **settings) for _ in range(draws)]
  for masks in (ours, np.array(loops)):
    sizes = masks.reshape(draws, -1).sum(1)
    counts = np.bincount(sizes, minlength=len(golden["count_hist"]))
    np.testing.assert_array_equal(counts, golden["count_hist"])
    _check_positions(masks, golden["pos_count"])
    alike = _equal_neighbours(masks)
    equal, pairs = golden["neighbour_equal"]
    error = alike.std() * np.sqrt(2 / draws)
    assert abs(alike.mean() - equal / pairs) < stats.norm.isf(LEVEL / 2) * error


def check_random(sizes, ratios, num_masked) -> None:
  """How many of some tokens random masks hide."""
  rng = np.random.default_rng(0)
  for size, counts in zip(sizes, num_masked, strict=True):
    for ratio, count in zip(ratios, counts, strict=True):
      out = RandomTokenMask(2, float(ratio))(rng, padded(int(size)))
      assert (out["mask"].sum(1) == count).all()


def _check_blocks(grid, settings, draws, golden):
  """Our blocks without the filling follow the reference's rule."""
  rng = np.random.default_rng(0)
  masks = np.zeros((draws, *grid), bool)
  first_sizes = np.zeros((grid[0] + 1, grid[1] + 1), int)
  for mask in masks:
    blocks = list(beit_blocks._blocks(rng, grid, **settings, min_aspect=0.3))
    for top, left, height, width in blocks:
      mask[top : top + height, left : left + width] = True
    first_sizes[blocks[0][2:]] += 1
  counts = np.bincount(masks.sum((1, 2)), minlength=masks[0].size + 1)
  assert _same_histogram(counts, golden["count_hist"]) > LEVEL
  assert _same_histogram(first_sizes, golden["first_block_hw_hist"]) > LEVEL
  _check_positions(masks, golden["pos_count"])
  alike = _equal_neighbours(masks)
  equal, pairs = golden["neighbour_equal"]
  error = alike.std() * np.sqrt(2 / draws)
  assert abs(alike.mean() - equal / pairs) < stats.norm.isf(LEVEL / 2) * error


def _check_filled(grid, settings, draws, golden):
  """The filling to the exact count leaves the statistics as they are."""
  rng = np.random.default_rng(1)
  masks = np.stack(
    [
      beit_blocks.draw_beit_blocks(rng, grid, **settings, min_aspect=0.3)
      for _ in range(draws)
    ]
  )
  assert (masks.sum((1, 2)) == settings["num_masked"]).all()
  # The filling hides 0.4 % more patches than the reference: within the noise.
  _check_positions(masks, golden["pos_count"])
  equal, pairs = golden["neighbour_equal"]
  np.testing.assert_allclose(
    _equal_neighbours(masks).mean(), equal / pairs, rtol=0.01
  )


def _same_histogram(ours, theirs):
  """P-value of two histograms being drawn from the same distribution."""
  counts = np.stack([ours.ravel(), theirs.ravel()])
  rare = counts.sum(0) < 20  # too few for the chi-square approximation
  pooled = np.column_stack([counts[:, ~rare], counts[:, rare].sum(1)])
  return stats.chi2_contingency(pooled[:, pooled.sum(0) > 0]).pvalue


def _check_positions(masks, theirs):
  """How often each position is masked, in two samples of the same size."""
  ours, draws = masks.sum(0), len(masks)
  share = (ours + theirs) / (2 * draws)
  z = (ours - theirs) / np.sqrt(2 * draws * share * (1 - share))
  # Bonferroni: holds whatever the dependence between positions.
  assert np.abs(z).max() < stats.norm.isf(LEVEL / 2 / masks[0].size)


def _equal_neighbours(masks):
  """Share of the pairs of neighbours that are alike, per mask."""
  across = (masks[:, :, 1:] == masks[:, :, :-1]).sum((1, 2))
  down = (masks[:, 1:] == masks[:, :-1]).sum((1, 2))
  rows, cols = masks.shape[1:]
  return (across + down) / (rows * (cols - 1) + cols * (rows - 1))
