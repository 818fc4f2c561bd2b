import math

import numpy as np
import pytest
from scipy import stats

from d2v_jax.data.masks import image as image_masks
from d2v_jax.data.masks import speech as speech_masks
from d2v_jax.data.masks import text as text_masks
from d2v_jax.data.masks.image import InverseBlockMasks
from d2v_jax.data.masks.speech import BlockMasks
from d2v_jax.data.masks.text import RandomMasks

DRAWS = 2000
LEVEL = 1e-3  # as in block_masking_test


def test_names_in_a_config():
  assert image_masks.MASKS["inverse_block"] is InverseBlockMasks
  assert speech_masks.MASKS["block"] is BlockMasks
  assert text_masks.MASKS["random"] is RandomMasks


@pytest.mark.parametrize(
  ("settings", "side", "visible"),
  [
    ({}, 14, 39),
    ({"ratio": 0.75, "adjust": 0.1}, 14, 49),
    ({"ratio": 0.75, "adjust": 0.1}, 16, 64),
  ],
)
def test_images(settings, side, visible):
  masks = InverseBlockMasks(**settings)
  drawn = masks(np.random.default_rng(0), (side, side))
  assert drawn.shape == (16, side, side) and drawn.dtype == bool
  assert ((~drawn).sum((1, 2)) == visible).all()
  assert masks.count((side, side)) == side**2 - visible


@pytest.mark.parametrize(
  ("settings", "total", "hidden"),
  [
    ({}, 781, 390),
    ({"num_masks": 12, "ratio": 0.55, "adjust": 0.1}, 999, 549),
    ({"ratio": 0.29}, 100, 28),  # 100 * 0.29 is 28.999...
  ],
)
def test_utterances(settings, total, hidden):
  masks = BlockMasks(**settings)
  rng = np.random.default_rng(0)
  assert masks.num_visible(total) == total - hidden
  for real in (total, total - 1, total // 2, 7, 2, 1):
    drawn = masks(rng, real, total)
    assert drawn.shape == (masks.num_masks, total) and drawn.dtype == bool
    assert (drawn.sum(1) == math.floor(real * masks.ratio)).all()
    assert not drawn[:, real:].any()
    # What a row shows of its real frames always fits.
    assert real - drawn[0].sum() <= masks.num_visible(total)


@pytest.mark.parametrize(("ratio", "visible"), [(0.48, 266), (0.5, 256)])
def test_texts(ratio, visible):
  masks = RandomMasks(8, ratio)
  rng = np.random.default_rng(0)
  assert masks.num_visible(512) == visible
  for real in (512, 511, 100, 3, 2, 1):
    drawn = masks(rng, real, 512)
    assert drawn.shape == (8, 512) and drawn.dtype == bool
    shown = max(1, math.floor(real * (1 - ratio)))
    assert (drawn.sum(1) == real - shown).all()
    assert not drawn[:, real:].any()


def test_random_tokens_are_uniform():
  drawn = RandomMasks(DRAWS, 0.5)(np.random.default_rng(0), 12, 14)
  z = (drawn[:, :12].sum(0) - DRAWS / 2) / np.sqrt(DRAWS / 4)
  assert np.abs(z).max() < stats.norm.isf(LEVEL / 2 / 12)
  both = (drawn[:, :11] & drawn[:, 1:12]).sum(0)
  p = 6 / 12 * 5 / 11
  z = (both - DRAWS * p) / np.sqrt(DRAWS * p * (1 - p))
  assert np.abs(z).max() < stats.norm.isf(LEVEL / 2 / 11)


def test_visible_tokens_fill_up_at_any_length():
  """Rows have enough padding to fill up, whatever the ratio."""
  for ratio in (0.05, 0.48, 0.5, 0.55, 0.8, 0.93):
    for total in range(2, 60):
      for masks in (BlockMasks(1, ratio), RandomMasks(1, ratio)):
        try:
          visible = masks.num_visible(total)
        except ValueError:
          continue  # nothing visible, or nothing hidden
        for real in range(1, total + 1):
          hidden = masks(np.random.default_rng(0), real, total).sum()
          assert 1 <= real - hidden <= visible <= total - hidden


def test_several_random_masks_of_an_image():
  rng = np.random.default_rng(0)
  drawn = image_masks.RandomMask(ratio=0.75, num_masks=4)(rng, (14, 14))
  assert drawn.shape == (4, 14, 14)
  assert (drawn.sum((1, 2)) == 147).all()
  assert (drawn[0] != drawn[1]).any()
  one = image_masks.RandomMask(ratio=0.75)(np.random.default_rng(0), (14, 14))
  np.testing.assert_array_equal(one, drawn[0])


@pytest.mark.parametrize(
  "draw",
  [
    lambda rng: InverseBlockMasks()(rng, (14, 14)),
    lambda rng: BlockMasks()(rng, 90, 100),
    lambda rng: RandomMasks()(rng, 90, 100),
  ],
)
def test_masks_depend_on_the_generator_alone(draw):
  first, again, other = (draw(np.random.default_rng(s)) for s in (3, 3, 4))
  np.testing.assert_array_equal(first, again)
  assert (first != other).any()


@pytest.mark.parametrize(
  ("make", "message"),
  [
    (lambda: InverseBlockMasks(num_masks=0), "num_masks must be >= 1, got 0"),
    (lambda: InverseBlockMasks(ratio=1.0), "ratio must be between 0 and 1"),
    (lambda: InverseBlockMasks(length=0), "length must be >= 1, got 0"),
    (
      lambda: InverseBlockMasks(adjust=-0.3),
      r"adjust must be at least -0.2 .*got -0.3",
    ),
    (
      lambda: InverseBlockMasks().count((2, 2)),
      "ratio=0.8, 0 of 4 patches stay visible; allowed are 1 to 3: change the",
    ),
    (
      lambda: InverseBlockMasks()(np.random.default_rng(0), (2, 2)),
      "0 of 4 patches stay visible",
    ),
    (lambda: BlockMasks(ratio=0), "BlockMasks: ratio must be between 0 and 1"),
    (lambda: BlockMasks(adjust=-0.6), "adjust must be at least -0.5"),
    (lambda: BlockMasks().num_visible(1), "1 of 1 frames stay visible"),
    (
      lambda: BlockMasks()(np.random.default_rng(0), 0, 9),
      "got 0 real frames of 9; allowed are 1 to 9: leave out shorter inputs",
    ),
    (lambda: BlockMasks()(np.random.default_rng(0), 10, 9), "10 real frames"),
    (lambda: RandomMasks(0), "RandomMasks: num_masks must be >= 1, got 0"),
    (lambda: RandomMasks(ratio=0.9).num_visible(9), "0 of 9 tokens stay"),
    (lambda: RandomMasks()(np.random.default_rng(0), 0, 9), "0 real tokens"),
    (
      lambda: image_masks.RandomMask(3, num_masks=0),
      "RandomMask: num_masks must be None or >= 1, got 0",
    ),
  ],
)
def test_errors(make, message):
  with pytest.raises(ValueError, match=message):
    make()
