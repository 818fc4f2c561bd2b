"""Which frames of a sequence are hidden: spans that may overlap."""

import dataclasses
import functools
import math

import numpy as np

from d2v_jax.data.masked_versions import BlockMasks


@dataclasses.dataclass(frozen=True)
class SpanMask:
  """Hides spans of frames (or channels), the same number in each draw.

  Args:
    prob: hidden share if spans did not overlap; they do, so that 0.65 in spans
      of 10 hides 49 %.
    length: frames in a span.
    min_masks: fewest spans, however short the input.

  Raises:
    ValueError: an argument is outside its range.

  Source: wav2vec 2.0 (arXiv 2006.11477), section 3.1, with the numbers and the
  code of data2vec (arXiv 2202.03555). A span starts anywhere but in the last
  `length` frames, so the last frame is never hidden. The reference draws the
  number of spans by chance (prob * frames / length, rounded up or down), hence
  a varying number of frames, and then shows single random frames again until
  all rows of a batch hide as few as the one that hides least: 43 to 46 % of
  the frames in batches of 12 to 24, and spans with holes. Ours always hides as
  many frames as one row of the reference does on average before that.
  """

  prob: float = 0.65
  length: int = 10
  min_masks: int = 1

  def __post_init__(self):
    check_spans("SpanMask", self.prob, self.length)
    if self.min_masks < 0:
      raise ValueError(
        f"SpanMask: min_masks must be >= 0, got {self.min_masks}"
      )

  def count(self, num_frames: int) -> int:
    """Returns the number of hidden frames, the same in each mask.

    It is 0 only where `min_masks` is 0 and the spans are too rare.
    """
    if num_frames < 2:
      raise ValueError(
        f"SpanMask: one frame has to stay visible, so of {num_frames} none can "
        "be hidden; leave out inputs that short"
      )
    length = self._length(num_frames)
    starts = num_frames - length
    return round(
      expected_hidden(num_frames, starts, self.prob, length, self.min_masks)
    )

  def __call__(
    self, rng: np.random.Generator, num_frames: int, total: int
  ) -> np.ndarray:
    """Returns a fresh mask.

    Args:
      rng: the only source of randomness.
      num_frames: real frames, at least 2; those after them are padding.
      total: frames, padding included.

    Returns:
      bool [total], True = hidden; never True in the padding.

    Raises:
      ValueError: `num_frames` is below 2 or above `total`.
    """
    if num_frames > total:
      raise ValueError(
        f"SpanMask: num_frames={num_frames} real frames are more than the "
        f"total={total}"
      )
    count, length = self.count(num_frames), self._length(num_frames)
    starts = num_frames - length
    mask = np.zeros(total, bool)
    mask[:num_frames] = draw_spans(rng, num_frames, starts, length, count)
    return mask

  def _length(self, num_frames: int) -> int:
    """Returns the frames of a span; one span nearly fills a short input."""
    return min(self.length, num_frames - 1)


def draw_spans(
  rng: np.random.Generator, size: int, num_starts: int, length: int, count: int
) -> np.ndarray:
  """Hides spans in random order until `count` positions are hidden.

  The starts are distinct. The last span is cut to what is still wanted, at the
  end where it does not touch hidden positions. Against the reference's masks
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
  # The place in the order of each start, and of what precedes the first.
  order = np.full(size + length - 1, num_starts)
  order[length - 1 : length - 1 + num_starts] = rng.permutation(num_starts)
  # The place of the first span that covers each position.
  windows = np.lib.stride_tricks.sliding_window_view(order, length)
  first = windows.min(axis=1)
  last = np.partition(first, count - 1)[count - 1]
  mask = first < last
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
  covering = np.convolve(np.ones(num_starts, int), np.ones(length, int))[:size]
  positions = np.bincount(covering).tolist()  # covered by 0, 1, ... starts
  fewest, more = divmod(prob * size / length, 1)
  total = 0.0
  for spans, share in ((int(fewest), 1 - more), (int(fewest) + 1, more)):
    spans = min(max(spans, min_masks), num_starts)
    draws = math.comb(num_starts, spans)
    for k, number in enumerate(positions):
      visible = math.comb(num_starts - k, spans) / draws
      total += share * number * (1 - visible)
  return total


def check_spans(name: str, prob: float, length: int) -> None:
  """Raises ValueError unless `prob` and `length` describe spans."""
  if not 0 < prob <= 1:
    raise ValueError(f"{name}: prob must be above 0 and at most 1, got {prob}")
  if length < 1:
    raise ValueError(f"{name}: length must be >= 1, got {length}")


MASKS = {"block": BlockMasks, "span": SpanMask}
