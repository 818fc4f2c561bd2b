"""Spans that may overlap: exact numbers of hidden positions of a sequence."""

import functools
import math

import numpy as np

from d2v_jax.data.ranges import check_range

_LONGEST = 100_000  # a longer span fills any input


def draw_spans(
  rng: np.random.Generator, size: int, num_starts: int, length: int, count: int
) -> np.ndarray:
  """Hides spans in random order until `count` positions are hidden.

  The starts are distinct. The last span is cut to what is missing, at the end
  where it does not touch hidden positions. Against the reference's masks
  with as many hidden frames, that makes 3 % more runs of hidden frames (4 s of
  speech; 1.6 % in 10 s) of which 6 % (2.4 %) are shorter than a span. To place
  a last span that needs no cut would leave as many runs too few, and in a
  second of speech make positions unequal.

  Args:
    rng: the only source of randomness.
    size: number of positions.
    num_starts: spans start at 0, ..., `num_starts` - 1.
    length: positions in a span; what reaches beyond `size` is dropped.
    count: positions to hide, at most those that some span can reach.

  Returns:
    bool [size], True = hidden.
  """
  if count == 0:
    return np.zeros(size, bool)
  # Rank of the span that starts at each position from 1 - length on: spans are
  # hidden in this order, and `num_starts` means that none starts there.
  rank = np.full(size + length - 1, num_starts)  # [size + length - 1]
  rank[length - 1 : length - 1 + num_starts] = rng.permutation(num_starts)
  # Rank of the first span that covers each position.
  windows = np.lib.stride_tricks.sliding_window_view(rank, length)
  first = windows.min(axis=1)  # [size, length] -> [size]
  # The span that hides the last of `count` positions, and what only it hides.
  last = np.partition(first, count - 1)[count - 1]
  mask = first < last  # [size]
  new = np.flatnonzero(first == last)
  if mask[min(new[-1] + 1, size - 1)]:
    new = new[::-1]
  mask[new[: count - mask.sum()]] = True
  return mask


@functools.cache
def expected_hidden(
  size: int, num_starts: int, prob: float, length: int, min_masks: int
) -> float:
  """Returns the mean number of positions that the reference's spans hide.

  There are prob * size / length spans, rounded up or down by chance so that
  the mean is right, with distinct starts.

  Args:
    size: number of positions.
    num_starts: spans start at 0, ..., `num_starts` - 1.
    prob: hidden share if spans did not overlap.
    length: positions in a span; what reaches beyond `size` is dropped.
    min_masks: fewest spans.
  """
  # How many starts have a span over each position. [size]
  covering = np.convolve(np.ones(num_starts, int), np.ones(length, int))[:size]
  positions = np.bincount(covering).tolist()  # covered by 0, 1, ... starts
  # So many spans with probability 1 - more, one above that with `more`.
  fewest, more = divmod(prob * size / length, 1)
  total = 0.0
  for spans, share in ((int(fewest), 1 - more), (int(fewest) + 1, more)):
    spans = min(max(spans, min_masks), num_starts)
    draws = math.comb(num_starts, spans)
    for k, number in enumerate(positions):
      # None of k starts is drawn: C(starts - k, spans) / C(starts, spans).
      visible = math.comb(num_starts - k, spans) / draws
      total += share * number * (1 - visible)
  return total


def check_spans(name: str, prob: float, length: int) -> None:
  """Raises ValueError unless `prob` and `length` describe spans."""
  if not 0 < prob <= 1:
    raise ValueError(f"{name}: prob must be above 0 and at most 1, got {prob}")
  check_range(name, "length", length, 1, _LONGEST)
