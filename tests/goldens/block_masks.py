"""Block masks of images against those of the reference code."""

import random

import numpy as np
import pytest
from scipy import stats

from d2v_jax.data.masks import beit_blocks, blocks
from d2v_jax.data.masks.text import RandomTokenMask
from tests.data.masks import examples
from tests.goldens import statistics
from tests.goldens.pure import Group, Pure
from tests.reference import masking as reference


def _blocks(case: Pure) -> None:
  """Version 1: exact masks, blocks, and masks filled to their number."""
  o, golden = case.options, case.golden
  side, draws = o["grid"], o["n"]
  grid = tuple(side) if isinstance(side, list) else (side, side)
  settings = {
    "num_masked": o["num_mask_patches"],
    "min_block": o["min_mask_patches_per_block"],
    "max_block": o["max_mask_patches_per_block"],
  }
  o.finish()
  random.seed(1000)
  exact = [
    reference.block_mask(*grid, **settings) for _ in range(len(golden["exact"]))
  ]
  np.testing.assert_array_equal(exact, golden["exact"])
  _check_unfilled(grid, settings, draws, golden)
  _check_filled(grid, settings, draws, golden)


def _check_unfilled(grid, settings, draws, golden):
  """Our blocks without the filling follow the reference's rule."""
  rng = np.random.default_rng(0)
  masks = np.zeros((draws, *grid), bool)
  first_sizes = np.zeros((grid[0] + 1, grid[1] + 1), int)
  for mask in masks:
    drawn = list(beit_blocks._blocks(rng, grid, **settings, min_aspect=0.3))
    for top, left, height, width in drawn:
      mask[top : top + height, left : left + width] = True
    if drawn:
      first_sizes[drawn[0][2:]] += 1
  counts = np.bincount(masks.sum((1, 2)), minlength=masks[0].size + 1)
  level = statistics.LEVEL
  assert statistics.same_histogram(counts, golden["count_hist"]) > level
  first = golden["first_block_hw_hist"]
  assert statistics.same_histogram(first_sizes, first) > level
  statistics.check_positions(masks, golden["pos_count"])
  _check_neighbours(masks, golden)


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
  # Patches that the filling adds to what the reference hides, in a mask.
  added = settings["num_masked"] - golden["pos_count"].sum() / draws
  assert added >= 0
  # They lie next to blocks, so not everywhere as often, but nearly.
  bias = 2 * added / masks[0].size
  statistics.check_positions(masks, golden["pos_count"], bias)
  equal, pairs = golden["neighbour_equal"]
  np.testing.assert_allclose(
    statistics.equal_neighbours(masks).mean(),
    equal / pairs,
    rtol=0.01,
    # Each of them may change four pairs.
    atol=4 * added / statistics.num_pairs(grid),
  )


def _check_neighbours(masks, golden):
  alike = statistics.equal_neighbours(masks)
  equal, pairs = golden["neighbour_equal"]
  error = alike.std() * np.sqrt(2 / len(masks))
  limit = stats.norm.isf(statistics.LEVEL / 2) * error
  assert abs(alike.mean() - equal / pairs) < limit


def _versions(case: Pure) -> None:
  """Version 2: exact counts, positions, and pairs of neighbours."""
  o, golden = case.options, case.golden
  draws, size = o["shape"]
  settings = {
    "ratio": o["mask_prob"],
    "adjust": o["mask_prob_adjust"],
    "length": o["mask_length"],
    "inverse": o["inverse_mask"],
  }
  o.only("require_same_masks", True)
  o.off("mask_dropout", "expand_adjcent", "non_overlapping")
  o.finish()
  grid = golden["pos_count"].shape
  assert size == golden["pos_count"].size
  ours = blocks.block_masks(np.random.default_rng(0), grid, draws, **settings)
  rng = np.random.default_rng(1)
  loops = [reference.block_version(rng, grid, **settings) for _ in range(draws)]
  for masks in (ours, np.array(loops)):
    sizes = masks.reshape(draws, -1).sum(1)
    counts = np.bincount(sizes, minlength=len(golden["count_hist"]))
    np.testing.assert_array_equal(counts, golden["count_hist"])
    statistics.check_positions(masks, golden["pos_count"])
    _check_neighbours(masks, golden)


def _random(case: Pure) -> None:
  """How many of some tokens random masks hide."""
  rng, golden = np.random.default_rng(0), case.golden
  for size, counts in zip(golden["L"], golden["num_masked"], strict=True):
    for ratio, count in zip(golden["ratio"], counts, strict=True):
      if not 0 < count < size:
        pytest.skip(f"option ratio={ratio}: {count} of {size} tokens hidden")
      random_mask = RandomTokenMask(2, float(ratio))
      masks = random_mask(rng, examples.padded(int(size)))["mask"]
      assert (masks.sum(1) == count).all()


GROUPS = {
  "beit": Group(_blocks, "{member}"),
  "v2": Group(_versions, "v2_{member}"),
  "random_masking": Group(_random, single=True),
}
