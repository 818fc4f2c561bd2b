"""Why the devices wait for input: from what was measured to what would help."""

import dataclasses
import os
import time

from d2v_jax.data.dataset import Dataset
from d2v_jax.data.reading_times import ReadingTimes, since

# A smaller share of the time is not worth a word.
_SHARE = 0.1
# From here on all cores, or threads, count as busy; the rest is Grain's.
_CORES_BUSY, _THREADS_BUSY = 0.85, 0.5
# So much longer than its work takes code that waits for Python's lock.
_STRETCHED = 1.5


@dataclasses.dataclass(frozen=True)
class Usage:
  """What input has used within some time.

  Attributes:
    times: of the examples.
    threads: of `num_threads` threads, how many were busy with them.
    cores: of `num_cores` cores, how many this process and its workers used, for
      whatever purpose.
    num_threads: that read, over all workers.
    num_workers: worker processes; 0: the threads are in this one.
    num_cores: that the process may use.
  """

  times: ReadingTimes
  threads: float
  cores: float
  num_threads: int
  num_workers: int
  num_cores: int


class InputWatch:
  """Warns when the devices begin to wait for input.

  Args:
    dataset: whose threads and workers read.
  """

  def __init__(self, dataset: Dataset) -> None:
    workers = dataset.num_workers
    self._workers = workers
    # As the pipeline divides them.
    per_worker = max(1, dataset.num_threads // max(1, workers))
    self._threads = per_worker * max(1, workers)
    self._before = ReadingTimes(), 0.0
    self._warned: str | None = None  # cause; None: all was well
    self._first = True

  def check(
    self, share: float, seconds: float, times: ReadingTimes
  ) -> str | None:
    """Looks at what happened since the last time; the first time says nothing.

    Args:
      share: of the time in which the devices waited for input.
      seconds: that have passed.
      times: of all examples so far.

    Returns:
      A warning that names the cause; None if there is none, or nothing new.
    """
    work, before = time.process_time(), self._before
    self._before = times, work
    spent, busy = since(times, before[0]), work - before[1]
    if self._workers:
      busy += spent.source_cpu + spent.transform_cpu
    first, self._first = self._first, False
    if first or share <= _SHARE:
      self._warned = None
      return None
    usage = Usage(
      spent,
      (spent.source + spent.transform) / seconds,
      busy / seconds,
      self._threads,
      self._workers,
      _num_cores(),
    )
    name, advice = cause(usage)
    if name == self._warned:
      return None
    self._warned = name
    return (
      f"warning: the devices wait for input {share:.0%} of the time. "
      f"{_described(usage)} {advice}"
    )


def cause(usage: Usage) -> tuple[str, str]:
  """Names what holds the input up, as far as can be told, and what helps.

  Returns:
    One of 'cores', 'batches', 'storage', 'lock' and 'threads', and a sentence
    or two.
  """
  threads, workers = usage.num_threads, usage.num_workers
  reading, decoding, transform = _parts(usage.times)
  if usage.cores >= _CORES_BUSY * usage.num_cores:
    most = "decoding" if decoding > transform else "transforms"
    return "cores", (
      f"The cause is the processor, {most} above all: use more cores for each "
      "device, or smaller files and a cheaper config.data.augment."
    )
  if usage.threads < _THREADS_BUSY * threads:
    return "batches", (
      "The cause is the putting together and handing over of batches: try "
      f"another config.data.num_workers than {workers}."
    )
  if reading > decoding + transform:
    return "storage", (
      "The cause is storage, which answers slowly: raise "
      f"config.data.num_threads above {threads}, or use a faster disk."
    )
  if _stretch(usage.times) > _STRETCHED:
    return "lock", (
      "The cause is Python's lock, which the threads of one process share: "
      f"raise config.data.num_workers above {workers}."
    )
  return "threads", (
    "The cause is too few threads: raise config.data.num_threads above "
    f"{threads}."
  )


def _described(usage: Usage) -> str:
  parts = _parts(usage.times)
  total = sum(parts) or 1.0
  reading, decoding, transform = (part / total for part in parts)
  busy = min(usage.threads, usage.num_threads)
  return (
    f"An example is {reading:.0%} reading, {decoding:.0%} decoding and "
    f"{transform:.0%} transforms; {busy:.1f} of {usage.num_threads} threads "
    f"and {usage.cores:.1f} of {usage.num_cores} cores are busy."
  )


def _parts(times: ReadingTimes) -> tuple[float, float, float]:
  """Seconds of reading, decoding and transforms.

  A source reads and decodes in one: it decodes while the processor works for
  it, and reads while it does not. Where threads wait for each other decoding
  takes longer than that, by as much as transforms do, which read nothing.
  """
  decoding = min(times.source, times.source_cpu * _stretch(times))
  return times.source - decoding, decoding, times.transform


def _stretch(times: ReadingTimes) -> float:
  """By how much transforms take longer than the processor works for them."""
  if times.transform_cpu <= 0:
    return 1.0
  return max(1.0, times.transform / times.transform_cpu)


def _num_cores() -> int:
  if hasattr(os, "sched_getaffinity"):
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1
