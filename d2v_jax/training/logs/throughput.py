"""How fast a run goes, between two lines of its log."""

import dataclasses
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager


@dataclasses.dataclass(frozen=True)
class Speed:
  """Of the steps between two reads.

  Attributes:
    seconds: that they took, without pauses.
    examples_per_sec: of all processes.
    peak_fraction: operations per second over the devices' peak; NaN where
      that is not known.
    input_wait: share of the time in which the devices waited for batches.
  """

  seconds: float
  examples_per_sec: float
  peak_fraction: float
  input_wait: float

  def metrics(self) -> dict[str, float]:
    """Those that are logged; without what is not known."""
    names = ("examples_per_sec", "peak_fraction", "input_wait")
    values = {name: getattr(self, name) for name in names}
    return {k: v for k, v in values.items() if math.isfinite(v)}


@dataclasses.dataclass
class _Interval:
  """Since a step and a moment; `waited` is the sum of all waits before it."""

  step: int
  begin: float
  waited: float
  paused: float = 0.0
  operations: float = 0.0


class Throughput:
  """Examples, operations and waits between two reads; pauses are left out.

  Args:
    batch_size: examples of a step, over all processes.
    peak: operations per second of all devices together; NaN: not known.
  """

  def __init__(self, batch_size: int, peak: float = math.nan) -> None:
    self._batch_size = batch_size
    self._peak = peak
    self._since: _Interval | None = None  # since the last read
    self._rate = math.nan

  def begin(self, step: int, waited: float) -> None:
    """Starts to count after this step, unless counting already.

    Args:
      step: that was completed last.
      waited: seconds of waiting for batches up to now.
    """
    if self._since is None:
      self._since = _Interval(step, time.monotonic(), waited)

  def add(self, operations: float) -> None:
    """Counts the operations of a step."""
    if self._since is not None:
      self._since.operations += operations

  def read(self, step: int, waited: float) -> Speed | None:
    """The speed since the last read; None while the first step compiles.

    Args:
      step: that was completed last.
      waited: as for `begin`.
    """
    since, now = self._since, time.monotonic()
    if since is None:
      return None
    seconds = max(now - since.begin - since.paused, 1e-9)
    self._rate = (step - since.step) * self._batch_size / seconds
    self._since = _Interval(step, now, waited)
    return Speed(
      seconds,
      self._rate,
      since.operations / seconds / self._peak,
      min(1.0, (waited - since.waited) / seconds),
    )

  def eta(self, steps_left: int) -> float:
    """Seconds to go at the last rate; NaN if there is none."""
    return steps_left * self._batch_size / self._rate

  @contextmanager
  def pause(self) -> Iterator[None]:
    """Leaves out evaluation and checkpoints."""
    begin = time.monotonic()
    yield
    if self._since is not None:
      self._since.paused += time.monotonic() - begin
