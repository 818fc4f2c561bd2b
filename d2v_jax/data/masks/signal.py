"""Which parts of a signal are hidden, in seconds."""

from collections.abc import Callable

from d2v_jax.config import FromRun
from d2v_jax.data.layout import WaveformInputs
from d2v_jax.data.masks.mask import Mask
from d2v_jax.data.masks.speech import FrameBlockMask, SpanMask


def spans(
  *,
  inputs: FromRun[WaveformInputs],
  seconds: float,
  prob: float = 0.65,
  min_masks: int = 1,
) -> SpanMask:
  """Hides spans of a signal; see `SpanMask`.

  Args:
    inputs: what the encoder takes.
    seconds: of a span; it becomes the nearest whole number of frames.
    prob: hidden share if spans did not overlap.
    min_masks: fewest spans, however short the input.

  Raises:
    ValueError: an argument is outside its range.
  """
  return SpanMask(prob, frames_of(seconds, inputs), min_masks)


def frame_blocks(
  *,
  inputs: FromRun[WaveformInputs],
  seconds: float,
  num_masks: int = 8,
  ratio: float = 0.5,
  adjust: float = 0.05,
) -> FrameBlockMask:
  """Hides blocks of a signal, in several ways; see `FrameBlockMask`.

  Args:
    inputs: what the encoder takes.
    seconds: of a block; it becomes the nearest whole number of frames.
    num_masks: masks of each signal.
    ratio: hidden share of the frames without padding.
    adjust: see `blocks.block_masks`.

  Raises:
    ValueError: an argument is outside its range.
  """
  return FrameBlockMask(num_masks, ratio, adjust, frames_of(seconds, inputs))


def frames_of(seconds: float, inputs: WaveformInputs) -> int:
  """Frames of a part of a signal, at least 1.

  Args:
    seconds: how long it is.
    inputs: what the encoder takes.

  Raises:
    ValueError: it is less than half a frame.
  """
  hop = inputs.hop / inputs.rate
  if not seconds >= hop / 2:
    raise ValueError(
      f"seconds must be those of a hidden part, at least a frame's {hop:g}, "
      f"got {seconds:g}"
    )
  return max(1, round(seconds / hop))


MASKS: dict[str, Callable[..., Mask]] = {
  "frame_blocks": frame_blocks,
  "spans": spans,
}
