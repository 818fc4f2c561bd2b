"""Which frames of an utterance are hidden: spans, or blocks of exact size.

`SpanMask` is version 1's, and of channels, too; `FrameBlockMask` version 2's.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from d2v_jax.data.masks import blocks, spans
from d2v_jax.data.masks.mask import (
  Mask,
  check_not_empty,
  check_versions,
  check_visible,
  keep_ids,
  unpadded,
)


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

  num_masks: ClassVar[None] = None

  def __post_init__(self) -> None:
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

  def check(self, shape: tuple[int, ...], shortest: int | None = None) -> None:
    """Raises ValueError where an example has one frame only."""
    self.count(shape[0] if shortest is None else min(shortest, shape[0]))

  def __call__(
    self, rng: np.random.Generator, example: Mapping[str, Any]
  ) -> dict[str, np.ndarray]:
    """Returns `mask` bool [N], True = hidden.

    Args:
      rng: the only source of randomness.
      example: with `padding` bool [N], of which at least 2 are False.

    Raises:
      ValueError: there are too few frames.
    """
    padding = example["padding"]
    num_frames = unpadded(padding)
    count, length = self.count(num_frames), self._length(num_frames)
    starts = num_frames - length
    mask = np.zeros(len(padding), bool)  # [N]
    mask[:num_frames] = spans.draw_spans(rng, num_frames, starts, length, count)
    return {"mask": mask}

  def _length(self, num_frames: int) -> int:
    """Returns the frames of a span; one span nearly fills a short input."""
    return min(self.length, num_frames - 1)


@dataclasses.dataclass(frozen=True)
class FrameBlockMask:
  """Masks of an utterance that hide blocks of frames.

  Args:
    num_masks: masks M of each utterance.
    ratio: hidden share of the frames without padding, cut off to whole frames.
    adjust: see `blocks.block_masks`.
    length: frames in a block.

  Raises:
    ValueError: an argument is outside its range.

  Source: data2vec 2.0 (arXiv 2212.07525). The defaults are those of the base
  model; the large one has num_masks 12, ratio 0.55 and adjust 0.1. In the
  release a mask is drawn for the whole utterance and then cropped, apart from
  the samples. So its rows hide different numbers of frames, while all encode as
  many as the first: rows that hide less lose visible frames, and rows that hide
  more show frames that they are scored on. We draw for the cropped utterance,
  and n frames always have exactly floor(n ratio) hidden ones.
  """

  num_masks: int = 8
  ratio: float = 0.5
  adjust: float = 0.05
  length: int = 5

  def __post_init__(self) -> None:
    check_versions("FrameBlockMask", self.num_masks, self.ratio)
    blocks.check_blocks("FrameBlockMask", self.ratio, self.adjust, self.length)

  def num_visible(self, total: int) -> int:
    """Returns V for batches of `total` frames.

    Raises:
      ValueError: so few frames that none of them is hidden.
    """
    visible = total - int(total * self.ratio)
    check_visible("FrameBlockMask", visible, total, "frames", self.ratio)
    return visible

  def check(self, shape: tuple[int, ...], shortest: int | None = None) -> None:
    """Raises ValueError where no frame of a whole batch would be hidden."""
    self.num_visible(shape[0])
    if shortest is not None:
      check_not_empty("FrameBlockMask", shortest, "frames")

  def __call__(
    self, rng: np.random.Generator, example: Mapping[str, Any]
  ) -> dict[str, np.ndarray]:
    """Returns `mask` bool [M, N] and `keep_ids` int32 [M, V].

    Of n frames that are not padding nothing is hidden where n * ratio is below
    1. What a mask leaves visible of them is always encoded.

    Args:
      rng: the only source of randomness.
      example: with `padding` bool [N], of which at least one is False.

    Raises:
      ValueError: there are too few frames.
    """
    padding = example["padding"]
    total, num_frames = len(padding), unpadded(padding)
    check_not_empty("FrameBlockMask", num_frames, "frames")
    mask = np.zeros((self.num_masks, total), bool)  # [M, N]
    settings = (self.ratio, self.adjust, self.length)
    mask[:, :num_frames] = blocks.block_masks(
      rng, (num_frames,), self.num_masks, *settings, inverse=False
    )
    return {"mask": mask, "keep_ids": keep_ids(mask, self.num_visible(total))}


MASKS: dict[str, type[Mask]] = {
  "frame_blocks": FrameBlockMask,
  "spans": SpanMask,
}
