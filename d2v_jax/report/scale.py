"""From values to places on an axis."""

import dataclasses
import math
from collections.abc import Iterable

# A logarithmic axis is for what spans so many times its smallest value.
_WIDE = 30


@dataclasses.dataclass(frozen=True)
class Scale:
  """An axis.

  Attributes:
    low: value at `start`.
    high: value at `end`.
    start: place of the lowest value, in pixels.
    end: place of the highest one.
    log: whether equal ratios have equal lengths.
  """

  low: float
  high: float
  start: float
  end: float
  log: bool = False

  def __call__(self, value: float) -> float:
    """Place of a value, in pixels."""
    low, high, at = (self._on_axis(x) for x in (self.low, self.high, value))
    return self.start + (at - low) / (high - low) * (self.end - self.start)

  def _on_axis(self, value: float) -> float:
    return math.log10(value) if self.log else value

  @property
  def ticks(self) -> list[float]:
    """Round values along the axis, two to seven."""
    if self.log:
      powers = range(
        math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1
      )
      parts = (1,) if len(powers) > 4 else (1, 2, 5)
      every = [m * 10.0**p for p in powers for m in parts]
      found = [x for x in every if self.low <= x * 1.0001 <= self.high * 1.0002]
      return found[:: -(-len(found) // 6)]
    step = _round_step((self.high - self.low) / 4)
    first = math.ceil(self.low / step - 1e-9)
    last = math.floor(self.high / step + 1e-9)
    return [i * step for i in range(first, last + 1)]


def scale(
  values: Iterable[float], start: float, end: float, log: bool | None = None
) -> Scale:
  """An axis that holds all values, with round ends.

  Args:
    values: at least one.
    start: place of the lowest value, in pixels.
    end: place of the highest one.
    log: whether equal ratios have equal lengths; None: where values are
      positive and far apart.
  """
  found = list(values)
  low, high = min(found), max(found)
  if log is None:
    log = low > 0 and high / low >= _WIDE
  if high - low <= 1e-12 * max(abs(low), abs(high)):
    # Of one value only, an axis that shows it in the middle.
    room = abs(low) / 10 or 1.0
    low, high = low - room, high + room
  if log:
    return Scale(low, high, start, end, log)
  step = _round_step((high - low) / 4)
  return Scale(
    math.floor(low / step + 1e-9) * step,
    math.ceil(high / step - 1e-9) * step,
    start,
    end,
  )


def _round_step(step: float) -> float:
  """1, 2 or 5 times a power of ten, near a step."""
  power = 10.0 ** math.floor(math.log10(step))
  return next(m * power for m in (1, 2, 5, 10) if step <= m * power * 1.0001)
