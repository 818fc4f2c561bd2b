"""Batches for the devices, and how long these had to wait for them."""

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
import numpy as np

from d2v_jax.data.mixed_stream import MixedShares
from d2v_jax.data.pipeline import Batch
from d2v_jax.data.reading_times import ReadingTimes
from d2v_jax.data.workers import Stacks


class Feed:
  """An iterator over batches that knows when the devices had nothing to do.

  While a batch is awaited the devices still work on the step before. That time
  is not lost: what counts is the rest of it, from the moment when they are
  done. A thread notes that moment, since asking the devices would keep the loop
  from handing them the next step in time.

  Args:
    batches: from `train_batches`.

  Attributes:
    waited: seconds in which the devices waited for batches, all together.
  """

  def __init__(self, batches: Any) -> None:
    self.waited = 0.0
    self._batches = batches
    self._thread = ThreadPoolExecutor(1, "devices")
    self._done: Future[float] | None = None  # of the newest step

  def __iter__(self) -> Iterator[Batch]:
    return self

  def __next__(self) -> Batch:
    begin = time.monotonic()
    batch: Batch = next(self._batches)
    end = time.monotonic()
    self.waited += max(0.0, end - max(begin, self._idle_since(begin, end)))
    return batch

  def busy_with(self, values: Any) -> None:
    """Says what the devices compute now: arrays of the step just begun."""
    self._done = self._thread.submit(_when_ready, values)

  @property
  def times(self) -> ReadingTimes:
    """What the batches so far have cost."""
    times: ReadingTimes = self._batches.times
    return times

  @property
  def records(self) -> np.ndarray:
    """Indices of the examples of the newest batch, int64 [b]."""
    records: np.ndarray = self._batches.records
    return records

  def names(self, records: np.ndarray) -> list[str]:
    """Names of examples, by which a person finds them."""
    names: list[str] = self._batches.names(records)
    return names

  @property
  def mixed(self) -> MixedShares | None:
    """What batches of a mixture are made of; None for other sources."""
    mixed: MixedShares | None = self._batches.mixed
    return mixed

  @property
  def stacks(self) -> Stacks | None:
    """Of processes that read; None: there are none."""
    stacks: Stacks | None = self._batches.stacks
    return stacks

  def close(self) -> None:
    """Stops the thread and what makes the batches."""
    self._batches.close()
    self._thread.shutdown()

  def _idle_since(self, begin: float, end: float) -> float:
    if self._done is None:
      return begin
    # A step that has failed tells so where its values are read.
    if not self._done.done() or self._done.exception() is not None:
      return end
    return self._done.result()


def _when_ready(values: Any) -> float:
  jax.block_until_ready(values)
  return time.monotonic()
