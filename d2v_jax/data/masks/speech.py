"""Which frames of an utterance are hidden: spans, or blocks of exact size.

`SpanMask` is version 1's, `BlockMasks` version 2's.
"""

import dataclasses

import numpy as np

from d2v_jax.data.masks import blocks, spans


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
    spans.check_spans("SpanMask", self.prob, self.length)
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
      spans.expected_hidden(
        num_frames, starts, self.prob, length, self.min_masks
      )
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
    mask[:num_frames] = spans.draw_spans(rng, num_frames, starts, length, count)
    return mask

  def _length(self, num_frames: int) -> int:
    """Returns the frames of a span; one span nearly fills a short input."""
    return min(self.length, num_frames - 1)


@dataclasses.dataclass(frozen=True)
class BlockMasks:
  """Masks of an utterance that hide blocks of frames.

  Args:
    num_masks: masks M of each utterance.
    ratio: hidden share of the real frames, cut off to whole frames.
    adjust: see `block_masks`.
    length: frames in a block.

  Raises:
    ValueError: an argument is outside its range.

  Source: data2vec 2.0 (arXiv 2212.07525). The defaults are those of the base
  model; the large one has num_masks 12, ratio 0.55 and adjust 0.1. In the
  release a mask is drawn for the whole utterance and then cropped, apart from
  the samples. So its rows hide different numbers of frames, while all encode as
  many as the first: rows that hide less lose visible frames, and rows that hide
  more show frames that they are scored on. We draw for the cropped utterance,
  and n real frames always have exactly floor(n ratio) hidden ones.
  """

  num_masks: int = 8
  ratio: float = 0.5
  adjust: float = 0.05
  length: int = 5

  def __post_init__(self):
    blocks.check_versions("BlockMasks", self.num_masks, self.ratio)
    blocks.check_blocks("BlockMasks", self.ratio, self.adjust, self.length)

  def num_visible(self, total: int) -> int:
    """Returns V for batches of `total` frames.

    Raises:
      ValueError: so few frames that none of them is hidden.
    """
    visible = total - int(total * self.ratio)
    blocks.check_visible("BlockMasks", visible, total, "frames", self.ratio)
    return visible

  def __call__(
    self, rng: np.random.Generator, num_frames: int, total: int
  ) -> np.ndarray:
    """Draws masks.

    Args:
      rng: the only source of randomness.
      num_frames: real frames, at least 1; those after them are padding.
      total: frames N, padding included.

    Returns:
      bool [M, N], True = hidden; never True in the padding. Where num_frames *
      ratio is below 1, nothing is hidden.

    Raises:
      ValueError: `num_frames` is below 1 or above `total`.
    """
    blocks.check_real("BlockMasks", num_frames, total, "frames")
    mask = np.zeros((self.num_masks, total), bool)
    settings = (self.ratio, self.adjust, self.length)
    mask[:, :num_frames] = blocks.block_masks(
      rng, (num_frames,), self.num_masks, *settings, inverse=False
    )
    return mask


MASKS = {"block": BlockMasks, "span": SpanMask}
