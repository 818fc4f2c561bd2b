import itertools
import math

import numpy as np
import pytest
from scipy import stats

from d2v_jax.data.masks import speech as speech_masks
from d2v_jax.data.masks.spans import draw_spans, expected_hidden
from d2v_jax.data.masks.speech import SpanMask
from tests.reference import masking as reference

DRAWS = 2000
# Each statistical test has a fixed seed, so it either always passes or never.
# The level only says how unlikely a correct draw would have been to fail.
LEVEL = 1e-3


def union(starts, length, size):
  hidden = set()
  for start in starts:
    hidden |= set(range(start, min(start + length, size)))
  return hidden


@pytest.mark.parametrize(
  ("size", "num_starts", "prob", "length", "min_masks"),
  [
    (9, 6, 0.65, 3, 1),
    (9, 6, 0.65, 3, 0),
    (8, 8, 0.35, 4, 0),  # tokens: spans are cut at the end
    (7, 6, 0.5, 1, 0),
    (5, 1, 0.65, 4, 1),
    (6, 3, 0.9, 3, 3),
  ],
)
def test_expected_size_is_that_of_all_draws(
  size, num_starts, prob, length, min_masks
):
  def mean(num_spans):
    draws = list(itertools.combinations(range(num_starts), num_spans))
    return sum(len(union(d, length, size)) for d in draws) / len(draws)

  spans = prob * size / length
  more = spans - math.floor(spans)
  fewest = max(min_masks, math.floor(spans))
  most = max(min_masks, math.floor(spans) + 1)
  expected = (1 - more) * mean(fewest) + (more * mean(most) if more else 0)
  ours = expected_hidden(size, num_starts, prob, length, min_masks)
  np.testing.assert_allclose(ours, expected, rtol=1e-12)


@pytest.mark.parametrize(
  ("num_frames", "count"), [(49, 25), (200, 99), (499, 245), (999, 490)]
)
def test_count_is_the_mean_of_the_reference(num_frames, count):
  assert SpanMask().count(num_frames) == count
  rng = np.random.default_rng(0)
  sizes = [
    len(union(reference.span_starts(rng, num_frames, 0.65, 10), 10, num_frames))
    for _ in range(DRAWS)
  ]
  error = np.std(sizes) / np.sqrt(DRAWS)
  assert abs(np.mean(sizes) - count) < 0.5 + stats.norm.isf(LEVEL / 2) * error


@pytest.mark.parametrize("num_frames", [2, 3, 9, 10, 11, 12, 30, 499])
@pytest.mark.parametrize("settings", [{}, {"prob": 1.0, "length": 3}])
def test_masks_are_exact_and_leave_a_frame(num_frames, settings):
  mask = SpanMask(**settings)
  rng = np.random.default_rng(0)
  for _ in range(20):
    drawn = mask(rng, num_frames, num_frames + 7)
    assert drawn.dtype == bool and drawn.shape == (num_frames + 7,)
    assert drawn.sum() == mask.count(num_frames) > 0
    assert not drawn[num_frames - 1 :].any()  # the last real frame, padding


def test_spans_are_added_one_by_one_and_the_last_is_cut():
  size, starts, length = 40, 34, 6
  for seed in range(200):
    count = 1 + seed % 39
    hidden = set()
    # The same generator gives the same order of the starts.
    places = np.random.default_rng(seed).permutation(starts)
    for start in np.argsort(places).tolist():
      new = sorted(union([start], length, size) - hidden)
      room = count - len(hidden)
      if len(new) > room and new[-1] + 1 in hidden:
        new = new[::-1]
      hidden |= set(new[:room])
      if len(hidden) == count:
        break
    rng = np.random.default_rng(seed)
    count = min(count, len(hidden))  # not all are within reach of a span
    ours = draw_spans(rng, size, starts, length, count)
    assert set(np.flatnonzero(ours)) == hidden


def test_starts_are_uniform():
  rng = np.random.default_rng(0)
  starts = [draw_spans(rng, 20, 12, 8, 8).argmax() for _ in range(DRAWS)]
  counts = np.bincount(starts, minlength=12)
  assert len(counts) == 12 and stats.chisquare(counts).pvalue > LEVEL


def test_single_frames_are_uniform():
  rng = np.random.default_rng(0)
  mask = SpanMask(0.4, 1)
  hits = sum(mask(rng, 16, 16) for _ in range(DRAWS))
  share = mask.count(16) / 15  # the last frame stays visible
  z = (hits[:15] - DRAWS * share) / np.sqrt(DRAWS * share * (1 - share))
  assert np.abs(z).max() < stats.norm.isf(LEVEL / 2 / 15)
  assert hits[15] == 0


def test_masks_depend_on_the_generator_alone():
  mask = SpanMask()
  first, again, other = (
    mask(np.random.default_rng(seed), 300, 300) for seed in (3, 3, 4)
  )
  np.testing.assert_array_equal(first, again)
  assert (first != other).any()


def test_channels_have_no_minimum():
  mask = speech_masks.MASKS["span"](prob=0.25, length=64, min_masks=0)
  drawn = mask(np.random.default_rng(0), 768, 768)
  # Three spans in 704 starts, as the reference draws them.
  assert drawn.sum() == mask.count(768) == 176
  rare = SpanMask(prob=0.001, length=10, min_masks=0)
  assert rare.count(30) == 0
  assert not rare(np.random.default_rng(0), 30, 30).any()


@pytest.mark.parametrize(
  ("make", "message"),
  [
    (lambda: SpanMask(prob=0), "SpanMask: prob must be above 0 and at most 1"),
    (lambda: SpanMask(prob=1.1), "prob must be above 0 and at most 1, got 1.1"),
    (lambda: SpanMask(length=0), "SpanMask: length must be >= 1, got 0"),
    (lambda: SpanMask(min_masks=-1), "min_masks must be >= 0, got -1"),
    (lambda: SpanMask().count(1), "of 1 none can be hidden"),
    (lambda: SpanMask()(np.random.default_rng(0), 0, 5), "of 0 none can be"),
    (
      lambda: SpanMask()(np.random.default_rng(0), 6, 5),
      "num_frames=6 real frames are more than the total=5",
    ),
  ],
)
def test_errors(make, message):
  with pytest.raises(ValueError, match=message):
    make()
