import math

import numpy as np
import pytest
from scipy import stats

from d2v_jax.data.masks import speech as speech_masks
from d2v_jax.data.masks.speech import FrameBlockMask, SpanMask
from tests.data.masks.examples import padded
from tests.reference import masking as reference

DRAWS = 2000
# Each statistical test has a fixed seed, so it either always passes or never.
# The level only says how unlikely a correct draw would have been to fail.
LEVEL = 1e-3


@pytest.mark.parametrize(
  ("num_frames", "count"), [(49, 25), (200, 99), (499, 245), (999, 490)]
)
def test_count_is_the_mean_of_the_reference(num_frames, count):
  assert SpanMask().count(num_frames) == count
  rng = np.random.default_rng(0)
  sizes = []
  for _ in range(DRAWS):
    hidden = np.zeros(num_frames, bool)
    for start in reference.span_starts(rng, num_frames, 0.65, 10):
      hidden[start : start + 10] = True
    sizes.append(hidden.sum())
  error = np.std(sizes) / np.sqrt(DRAWS)
  assert abs(np.mean(sizes) - count) < 0.5 + stats.norm.isf(LEVEL / 2) * error


@pytest.mark.parametrize("num_frames", [2, 3, 9, 10, 11, 12, 30, 499])
@pytest.mark.parametrize("settings", [{}, {"prob": 1.0, "length": 3}])
def test_masks_are_exact_and_leave_a_frame(num_frames, settings):
  mask = SpanMask(**settings)
  rng = np.random.default_rng(0)
  for _ in range(20):
    out = mask(rng, padded(num_frames, num_frames + 7))
    assert set(out) == {"mask"}
    drawn = out["mask"]
    assert drawn.dtype == bool and drawn.shape == (num_frames + 7,)
    assert drawn.sum() == mask.count(num_frames) > 0
    assert not drawn[num_frames - 1 :].any()  # the last frame, padding


def test_single_frames_are_uniform():
  rng = np.random.default_rng(0)
  mask = SpanMask(0.4, 1)
  hits = sum(mask(rng, padded(16))["mask"] for _ in range(DRAWS))
  share = mask.count(16) / 15  # the last frame stays visible
  z = (hits[:15] - DRAWS * share) / np.sqrt(DRAWS * share * (1 - share))
  assert np.abs(z).max() < stats.norm.isf(LEVEL / 2 / 15)
  assert hits[15] == 0


def test_names_in_a_config():
  names = speech_masks.MASKS
  assert names == {
    "frame_blocks": FrameBlockMask,
    "spans": SpanMask,
  }


@pytest.mark.parametrize("mask", [SpanMask(), FrameBlockMask()])
def test_masks_depend_on_the_generator_alone(mask):
  first, again, other = (
    mask(np.random.default_rng(seed), padded(280, 300)) for seed in (3, 3, 4)
  )
  for name in first:
    np.testing.assert_array_equal(first[name], again[name])
    assert (first[name] != other[name]).any()


def test_channels_have_no_minimum():
  mask = SpanMask(prob=0.25, length=64, min_masks=0)
  drawn = mask(np.random.default_rng(0), padded(768))["mask"]
  # Three spans in 704 starts, as the reference draws them.
  assert drawn.sum() == mask.count(768) == 176
  rare = SpanMask(prob=0.001, length=10, min_masks=0)
  assert rare.count(30) == 0
  assert not rare(np.random.default_rng(0), padded(30))["mask"].any()


@pytest.mark.parametrize(
  ("settings", "total", "hidden"),
  [
    ({}, 781, 390),
    ({"num_masks": 12, "ratio": 0.55, "adjust": 0.1}, 999, 549),
    ({"ratio": 0.29}, 100, 28),  # 100 * 0.29 is 28.999...
  ],
)
def test_blocks_hide_an_exact_share(settings, total, hidden):
  mask = FrameBlockMask(**settings)
  rng = np.random.default_rng(0)
  assert mask.num_visible(total) == total - hidden
  for size in (total, total - 1, total // 2, 7, 2, 1):
    out = mask(rng, padded(size, total))
    assert set(out) == {"mask", "keep_ids"}
    drawn = out["mask"]
    assert drawn.shape == (mask.num_masks, total) and drawn.dtype == bool
    assert (drawn.sum(1) == math.floor(size * mask.ratio)).all()
    assert not drawn[:, size:].any()
    # All visible frames are encoded, then the first of the padding.
    assert out["keep_ids"].shape == (mask.num_masks, total - hidden)
    for row, kept in zip(drawn, out["keep_ids"].tolist(), strict=True):
      assert kept == np.flatnonzero(~row)[: total - hidden].tolist()
      assert size - row.sum() <= len(kept)


def test_visible_frames_fill_up_at_any_length():
  """There is enough padding to fill up, whatever the ratio."""
  for ratio in (0.05, 0.48, 0.5, 0.55, 0.8, 0.93):
    mask = FrameBlockMask(1, ratio)
    for total in range(2, 60):
      if int(total * ratio) == 0:
        continue  # nothing hidden
      for size in range(1, total + 1):
        out = mask(np.random.default_rng(0), padded(size, total))
        hidden, visible = out["mask"].sum(), out["keep_ids"].size
        assert 1 <= size - hidden <= visible <= total - hidden


def test_what_cannot_be_masked_is_known_before():
  SpanMask().check((50,), shortest=2)
  with pytest.raises(ValueError, match="so of 1 none can be hidden"):
    SpanMask().check((50,), shortest=1)
  with pytest.raises(ValueError, match="so of 1 none can be hidden"):
    SpanMask().check((1,), shortest=50)
  FrameBlockMask().check((50,), shortest=1)
  with pytest.raises(ValueError, match="no frames that are not padding"):
    FrameBlockMask().check((50,), shortest=0)
  with pytest.raises(ValueError, match="1 of 1 frames stay visible"):
    FrameBlockMask().check((1,))


@pytest.mark.parametrize(
  ("make", "message"),
  [
    (lambda: SpanMask(prob=0), "SpanMask: prob must be above 0 and at most 1"),
    (lambda: SpanMask(prob=1.1), "prob must be above 0 and at most 1, got 1.1"),
    (lambda: SpanMask(length=0), "SpanMask: length must be 1 to 100000, got 0"),
    (lambda: SpanMask(min_masks=-1), "min_masks must be >= 0, got -1"),
    (lambda: SpanMask().count(1), "of 1 none can be hidden"),
    (
      lambda: SpanMask()(np.random.default_rng(0), padded(0, 5)),
      "of 0 none can be",
    ),
    (lambda: FrameBlockMask(num_masks=0), "num_masks must be 1 to 1024, got 0"),
    (lambda: FrameBlockMask(ratio=0), "FrameBlockMask: ratio must be between"),
    (lambda: FrameBlockMask(length=0), "length must be 1 to 1000, got 0"),
    (lambda: FrameBlockMask(num_masks=10**9), "1 to 1024, got 1000000000"),
    (lambda: FrameBlockMask(adjust=float("nan")), "at most 10, got nan"),
    (lambda: FrameBlockMask(adjust=1e9), "at most 10, got 1000000000.0"),
    (lambda: FrameBlockMask(adjust=-0.6), "adjust must be at least -0.5"),
    (lambda: FrameBlockMask().num_visible(1), "1 of 1 frames stay visible"),
    (
      lambda: FrameBlockMask()(np.random.default_rng(0), padded(0, 9)),
      "FrameBlockMask: an example has no frames that are not padding; leave",
    ),
  ],
)
def test_errors(make, message):
  with pytest.raises(ValueError, match=message):
    make()
