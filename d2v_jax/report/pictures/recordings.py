"""Draws waveforms of speech, and signals of several channels."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from d2v_jax.data.layout import WaveformInputs
from d2v_jax.report.markup import Element, tag
from d2v_jax.report.pictures.drawer import Row
from d2v_jax.report.pictures.encoded import picture

_WIDTH, _HEIGHT = 330, 36
_STRIP = 10
_COLUMNS = 220
_MOST_CHANNELS = 6


@dataclasses.dataclass(frozen=True)
class RecordingDrawer:
  """Draws recordings, whose tokens are `hop` samples each.

  Args:
    inputs: what the network takes.
  """

  inputs: WaveformInputs

  def tokens(self, row: Row) -> int:
    """See `Drawer`."""
    return int((~row["padding"]).sum())

  def plain(self, row: Row) -> Element:
    """See `Drawer`."""
    return self._drawn(row, f"a recording of {self._seconds(row):.3g} s", ())

  def hidden(self, row: Row, mask: np.ndarray) -> Element:
    """See `Drawer`."""
    told = f"{mask.sum()} of {mask.size} frames are hidden"
    return self._drawn(row, told, (_spans(mask, "hidden"),))

  def coloured(self, row: Row, colours: np.ndarray) -> Element:
    """See `Drawer`."""
    made = self._drawn(row, "a recording, with a colour for each frame", ())
    height = self._height(row)
    width = colours.shape[0] * self.inputs.hop * self._scale(row)
    made.append(
      tag(
        "image",
        href=picture(colours[None]),
        y=height + 2,
        width=round(width, 2),
        height=_STRIP,
        preserveAspectRatio="none",
        class_="pixels",
      )
    )
    made.set("viewBox", f"0 0 {_WIDTH} {height + 2 + _STRIP}")
    return made

  def marked(self, row: Row, token: int) -> Element:
    """See `Drawer`."""
    mask = np.arange(token + 1) == token
    told = f"a recording with a frame at {self.inputs.hop * token} samples"
    return self._drawn(row, told, (_spans(mask, "frame"),))

  def _drawn(
    self, row: Row, told: str, spans: tuple[Iterator[tuple[int, int, str]], ...]
  ) -> Element:
    samples = row["inputs"].reshape(len(row["inputs"]), -1)  # [T, C]
    scale, height = self._scale(row), self._height(row)
    made = tag(
      "svg",
      viewBox=f"0 0 {_WIDTH} {height}",
      role="img",
      aria_label=told,
      class_="picture wide",
    )
    for c, channel in enumerate(samples.T[:_MOST_CHANNELS]):
      made.append(tag("path", d=_envelope(channel, _HEIGHT * c), class_="wave"))
    covered = [x for found in spans for x in found]
    if row["padding"].any():
      covered.append((self.tokens(row), -1, "padding"))
    for first, end, kind in covered:
      left = first * self.inputs.hop * scale
      right = _WIDTH if end < 0 else end * self.inputs.hop * scale
      if right - left > 0:
        made.append(
          tag(
            "rect",
            x=round(left, 2),
            width=round(right - left, 2),
            height=height,
            class_=kind,
          )
        )
    return made

  def _seconds(self, row: Row) -> float:
    return len(row["inputs"]) / self.inputs.rate

  def _scale(self, row: Row) -> float:
    """Pixels of a sample."""
    return _WIDTH / len(row["inputs"])

  def _height(self, row: Row) -> int:
    channels = row["inputs"].reshape(len(row["inputs"]), -1).shape[1]
    return _HEIGHT * min(channels, _MOST_CHANNELS)


def _spans(mask: np.ndarray, kind: str) -> Iterator[tuple[int, int, str]]:
  """First token and the one behind the last, of each span."""
  edges = np.flatnonzero(np.diff(mask.astype(int), prepend=0, append=0))
  for first, end in edges.reshape(-1, 2).tolist():
    yield first, end, kind


def _envelope(samples: np.ndarray, top: float) -> str:
  """A line through samples, or of many the range of each column."""
  most = max(float(np.abs(samples).max(initial=0)), 1e-9)
  y = top + _HEIGHT / 2 - (_HEIGHT / 2 - 2) * samples / most
  columns = min(len(samples), _COLUMNS)
  x = (np.arange(columns) + 0.5) * _WIDTH / columns
  if columns == len(samples):
    points = (f"{a:.1f} {b:.1f}" for a, b in zip(x, y, strict=True))
    return "M" + "L".join(points)
  parts = np.array_split(y, columns)
  ranges = ((float(np.max(p)) + 0.3, float(np.min(p))) for p in parts)
  bars = zip(x, ranges, strict=True)
  return "".join(f"M{a:.1f} {low:.1f}V{high:.1f}" for a, (low, high) in bars)
