import numpy as np
import pytest
from scipy import stats

from d2v_jax.data.masks import image as image_masks
from d2v_jax.data.masks.beit_blocks import draw_beit_blocks
from d2v_jax.data.masks.blocks import block_masks
from d2v_jax.data.masks.image import (
  BeitBlockMask,
  InverseBlockMask,
  RandomPatchMask,
)

DRAWS = 2000
# Each statistical test has a fixed seed, so it either always passes or never.
# The level only says how unlikely a correct draw would have been to fail.
LEVEL = 1e-3


def draw(mask, grid, seed=0):
  return mask(np.random.default_rng(seed), {"grid": grid})


def test_names_in_a_config():
  names = image_masks.MASKS
  assert names == {
    "beit_blocks": BeitBlockMask,
    "inverse_blocks": InverseBlockMask,
    "random_patches": RandomPatchMask,
  }


@pytest.mark.parametrize("grid", [(1, 5), (5, 1), (2, 2), (7, 3), (30, 20)])
@pytest.mark.parametrize("kind", [BeitBlockMask, RandomPatchMask])
def test_count_is_exact_on_any_grid(kind, grid):
  size = grid[0] * grid[1]
  for num_masked in {1, 2, size // 2, size - 1}:
    out = draw(kind(num_masked), grid)
    assert set(out) == {"mask"}
    assert out["mask"].dtype == bool and out["mask"].shape == (size,)
    assert out["mask"].sum() == num_masked


def test_patches_are_row_major():
  grid, rng = (7, 3), np.random.default_rng
  blocks = draw_beit_blocks(rng(0), grid, 9, 2, None, 0.3)
  out = draw(BeitBlockMask(9, min_block=2), grid)
  np.testing.assert_array_equal(out["mask"].reshape(grid), blocks)
  blocks = block_masks(rng(0), grid, 4, 0.6, 0.1, 2, inverse=True)
  out = draw(InverseBlockMask(4, 0.6, 0.1, 2), grid)
  np.testing.assert_array_equal(out["mask"].reshape(4, *grid), blocks)


def test_random_patches_are_uniform():
  mask, rng = RandomPatchMask(6), np.random.default_rng(0)
  hits = sum(mask(rng, {"grid": (4, 4)})["mask"] for _ in range(DRAWS))
  expected = DRAWS * 6 / 16
  z = (hits - expected) / np.sqrt(DRAWS * (6 / 16) * (10 / 16))
  assert np.abs(z).max() < stats.norm.isf(LEVEL / 2 / 16)


@pytest.mark.parametrize(
  "mask",
  [
    BeitBlockMask(ratio=0.6),
    RandomPatchMask(ratio=0.6),
    RandomPatchMask(ratio=0.6, num_masks=3),
    InverseBlockMask(),
  ],
)
def test_masks_depend_on_the_generator_alone(mask):
  first, again, other = (draw(mask, (14, 14), seed) for seed in (3, 3, 4))
  for name in first:
    np.testing.assert_array_equal(first[name], again[name])
    assert (first[name] != other[name]).any()


@pytest.mark.parametrize("kind", [BeitBlockMask, RandomPatchMask])
def test_a_ratio_is_rounded(kind):
  assert kind(ratio=0.6).count((14, 14)) == 118  # of 117.6


@pytest.mark.parametrize(
  ("settings", "side", "visible"),
  [
    ({}, 14, 39),
    ({"ratio": 0.75, "adjust": 0.1}, 14, 49),
    ({"ratio": 0.75, "adjust": 0.1}, 16, 64),
  ],
)
def test_inverse_blocks_leave_as_many_as_released(settings, side, visible):
  mask = InverseBlockMask(**settings)
  out = draw(mask, (side, side))
  assert set(out) == {"mask", "keep_ids"}
  assert out["mask"].shape == (16, side**2) and out["mask"].dtype == bool
  assert out["keep_ids"].shape == (16, visible)
  assert out["keep_ids"].dtype == np.int32
  for hides, kept in zip(out["mask"], out["keep_ids"], strict=True):
    np.testing.assert_array_equal(np.flatnonzero(~hides), kept)
  assert mask.count((side, side)) == side**2 - visible


def test_several_random_masks():
  out = draw(RandomPatchMask(ratio=0.75, num_masks=4), (14, 14))
  assert set(out) == {"mask", "keep_ids"}
  assert out["mask"].shape == (4, 196)
  assert (out["mask"].sum(1) == 147).all()
  assert (out["mask"][0] != out["mask"][1]).any()
  for hides, kept in zip(out["mask"], out["keep_ids"], strict=True):
    np.testing.assert_array_equal(np.flatnonzero(~hides), kept)
  one = draw(RandomPatchMask(ratio=0.75), (14, 14))
  np.testing.assert_array_equal(one["mask"], out["mask"][0])


@pytest.mark.parametrize(
  ("make", "message"),
  [
    (lambda: BeitBlockMask(), "give exactly one of the two"),
    (lambda: RandomPatchMask(3, 0.5), "give exactly one of the two"),
    (lambda: BeitBlockMask(ratio=1.0), "ratio must be between 0 and 1"),
    (lambda: BeitBlockMask(9, min_block=0), "min_block must be >= 1"),
    (lambda: BeitBlockMask(9, max_block=5), "max_block must be None or >="),
    (lambda: BeitBlockMask(9, min_aspect=2), "min_aspect must be above 0"),
    (lambda: BeitBlockMask(16).check((4, 4)), "allowed are 1 to 15"),
    (lambda: RandomPatchMask(0).check((4, 4)), "cannot hide 0 of the 16"),
    (lambda: BeitBlockMask(ratio=0.1).check((2, 2)), "cannot hide 0"),
    (lambda: draw(BeitBlockMask(16), (4, 4)), "16 patches of a 4 x 4 grid"),
    (
      lambda: RandomPatchMask(3, num_masks=0),
      "RandomPatchMask: num_masks must be 1 to 1024, got 0",
    ),
    (
      lambda: InverseBlockMask(num_masks=0),
      "num_masks must be 1 to 1024, got 0",
    ),
    (lambda: InverseBlockMask(ratio=1.0), "ratio must be between 0 and 1"),
    (lambda: InverseBlockMask(length=0), "length must be 1 to 1000, got 0"),
    (
      lambda: InverseBlockMask(adjust=-0.3),
      r"adjust must be at least -0.2 .*got -0.3",
    ),
    (
      lambda: InverseBlockMask().check((2, 2)),
      "ratio=0.8, 0 of 4 patches stay visible; allowed are 1 to 3: change the",
    ),
    (lambda: draw(InverseBlockMask(), (2, 2)), "0 of 4 patches stay visible"),
  ],
)
def test_errors(make, message):
  with pytest.raises(ValueError, match=message):
    make()
