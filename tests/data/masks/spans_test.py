import itertools
import math

import numpy as np
import pytest
from scipy import stats

from d2v_jax.data.masks.spans import draw_spans, expected_hidden

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
