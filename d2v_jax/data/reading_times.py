"""What the reading of training examples costs, measured where it is done."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from d2v_jax.data.source import Example

_KEY = "reading_times"


class ReadingTimes(NamedTuple):
  """Seconds of examples, summed over threads and worker processes.

  Attributes:
    source: until the source had given them: read and decoded.
    source_cpu: the part of it in which the processor worked.
    transform: until they were augmented and masked.
    transform_cpu: the part of it in which the processor worked.
  """

  source: float = 0.0
  source_cpu: float = 0.0
  transform: float = 0.0
  transform_cpu: float = 0.0


class TimedSource:
  """A source of examples that notes in each how long it took.

  Args:
    source: the source.
  """

  def __init__(self, source: Any) -> None:
    self._source = source

  def __len__(self) -> int:
    return len(self._source)

  def __getitem__(self, index: int) -> Example:
    begin = time.perf_counter(), time.thread_time()
    example = self._source[index]
    return {**example, _KEY: _since(*begin)}


class TimedTransform:
  """A transform of the examples of a `TimedSource` that notes its time, too.

  Args:
    transform: (example, generator) -> arrays.
  """

  def __init__(
    self, transform: Callable[[Example, np.random.Generator], Example]
  ) -> None:
    self._transform = transform

  def __call__(self, example: Example, rng: np.random.Generator) -> Example:
    """The row of a batch that the transform makes, with both times."""
    begin = time.perf_counter(), time.thread_time()
    rest = dict(example)
    source = rest.pop(_KEY)
    row = self._transform(rest, rng)
    return {**row, _KEY: np.array(source + _since(*begin))}


def take(batch: dict[str, np.ndarray]) -> ReadingTimes:
  """Takes out of a batch what its examples note."""
  return ReadingTimes(*batch.pop(_KEY).sum(0).tolist())


def add(one: ReadingTimes, other: ReadingTimes) -> ReadingTimes:
  """The sum of two."""
  return ReadingTimes(*(a + b for a, b in zip(one, other, strict=True)))


def since(now: ReadingTimes, before: ReadingTimes) -> ReadingTimes:
  """What was added between two sums."""
  return ReadingTimes(*(a - b for a, b in zip(now, before, strict=True)))


def _since(clock: float, work: float) -> tuple[float, float]:
  """Seconds by the clock, and of this thread's work."""
  return time.perf_counter() - clock, time.thread_time() - work
