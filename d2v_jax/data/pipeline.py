"""Batches: training without end, evaluation in one pass."""

import logging
from collections.abc import Callable, Iterator
from typing import Any

import grain.python as grain
import numpy as np
from absl import flags
from etils import epath

from d2v_jax.data.buckets import Buckets, BucketStream, SortedByLength
from d2v_jax.data.corrupt import CorruptRecords, problem
from d2v_jax.data.files.unreadable import shown
from d2v_jax.data.mixed_examples import MixedExamples
from d2v_jax.data.mixed_stream import MixedShares, MixedStream
from d2v_jax.data.ranges import check_range
from d2v_jax.data.reading_times import (
  ReadingTimes,
  TimedSource,
  TimedTransform,
  add,
  take,
)
from d2v_jax.data.source import Example, Source
from d2v_jax.data.workers import ReplacedWorkers, Stacks

Batch = dict[str, np.ndarray]

_LARGEST_BATCH = 2**20
_MOST_THREADS = 1024
_MOST_WORKERS = 256
_MOST_CORRUPT = 10**9


def train_batches(
  source: Source,
  transform: Callable[[Example, np.random.Generator], Example],
  *,
  seed: int,
  batch_size: int,
  start_step: int = 0,
  num_threads: int = 16,
  num_workers: int = 0,
  process_index: int = 0,
  process_count: int = 1,
  max_corrupt: int = 100,
  corrupt_log: epath.PathLike | None = None,
  buckets: Buckets | None = None,
) -> "TrainBatches":
  """Returns this process's share of an endless stream of training batches.

  The examples are shuffled anew in each epoch, which a mixture draws by its
  shares, and an epoch need not end with a batch. With `buckets` it does:
  examples of similar length share a batch and its 'length', which each then
  has, and fewer than `batch_size` are left out of the epoch. Batch t depends on
  `seed`, `batch_size`, `buckets` and t alone: the example at position g of the
  stream, with its augmentation and mask, is row g of the global order, and
  process p has rows p, p + process_count, ... of each global batch. So threads,
  workers, the number of processes and `start_step` (where a run resumes) change
  nothing. For that the randomness comes before the division among processes;
  after it each process would draw the same masks.

  Args:
    source: decoded examples, with `lengths` where there are buckets.
    transform: (example, generator) -> arrays, with 'requested' and 'record'
      handed on from the example.
    seed: of the order and of the augmentation.
    batch_size: examples in a global batch, over all processes.
    start_step: index of the first batch to return.
    num_threads: threads that read and augment, over all workers.
    num_workers: worker processes; 0 reads in this one, which is faster on a few
      cores since decoding releases Python's lock.
    process_index: this process's number.
    process_count: number of processes that train together.
    max_corrupt: different corrupt records that this process passes over before
      it gives up.
    corrupt_log: text file that keeps their names and reasons, so that a resumed
      run does not count them again; one file for each process.
    buckets: lengths of batches; None for examples that all have one shape.

  Returns:
    An iterator over dicts of arrays [batch_size // process_count, ...], to be
    closed with `.close()`.

  Raises:
    ValueError: an argument is outside its range, an epoch in buckets has not
      one batch, or, from the iterator, more than `max_corrupt` records are
      corrupt.
    WorkerDied: from the iterator: a worker was killed, and one had been before.
  """
  rows = _local_batch_size(batch_size, process_index, process_count)
  check_reading(num_threads, num_workers, max_corrupt)
  check_range("train_batches", "seed", seed, 0, 2**32 - 1)  # Grain's range
  check_range("train_batches", "start_step", start_step, 0, 2**63 - 1)
  corrupt = CorruptRecords(source, max_corrupt, corrupt_log)
  order: BucketStream | MixedStream | None = None
  if buckets is not None:
    order = BucketStream(source, buckets, batch_size, seed)
  elif isinstance(source, MixedExamples):
    order = MixedStream(source, batch_size, seed)
  timed = TimedSource(source if order is None else order)
  examples = grain.MapDataset.source(timed).seed(seed)
  if order is None:
    examples = examples.shuffle().repeat(None)
  batches = (
    examples.random_map(TimedTransform(transform))
    .slice(slice(process_index, None, process_count))
    .batch(rows, drop_remainder=True)
  )

  def names(number: int) -> list[str]:
    first = number * batch_size
    if order is not None:
      records = order.batch(number)
    else:  # in the same order, without being read
      numbers = grain.MapDataset.range(len(timed)).seed(seed)
      numbers = numbers.shuffle().repeat(None)
      positions = range(first, first + batch_size)
      records = np.array([numbers[i] for i in positions])
    return corrupt.record_names(records[process_index::process_count])

  threads = max(1, num_threads // max(1, num_workers))
  stacks = Stacks() if num_workers else None

  def begin(step: int) -> Any:
    stream = batches.slice(slice(step, None)).to_iter_dataset(
      _read_options(threads)
    )
    if stacks is not None:
      if not flags.FLAGS.is_parsed():
        # Grain reads a flag; outside of absl's app.run nobody has parsed any.
        flags.FLAGS.mark_as_parsed()
      stream = stream.mp_prefetch(
        grain.MultiprocessingOptions(num_workers), stacks.begin
      )
    return iter(stream)

  mixed = None
  if isinstance(source, MixedExamples):
    assert order is not None
    mixed = MixedShares(source, order)
  return TrainBatches(
    ReplacedWorkers(begin, start_step, names), corrupt, mixed, stacks
  )


class TrainBatches:
  """The iterator that `train_batches` returns.

  Attributes:
    times: what the batches that were returned so far have cost.
    records: indices of the examples of the newest batch, int64 [b].
    mixed: what batches of a mixture are made of; None for other sources.
    stacks: of worker processes; None: there are none.
  """

  def __init__(
    self,
    batches: Any,
    corrupt: "CorruptRecords",
    mixed: MixedShares | None = None,
    stacks: Stacks | None = None,
  ):
    self._batches = batches
    self.mixed = mixed
    self.stacks = stacks
    self._corrupt = corrupt
    self.times = ReadingTimes()
    self.records = np.zeros(0, np.int64)

  def __iter__(self) -> "TrainBatches":
    return self

  def __next__(self) -> Batch:
    batch = next(self._batches)
    self.times = add(self.times, take(batch))
    self.records = batch.pop("record")
    self._corrupt.note(batch.pop("requested"), self.records)
    return batch

  def names(self, records: np.ndarray) -> list[str]:
    """Names of examples, by which a person finds them."""
    return self._corrupt.record_names(records)

  @property
  def num_corrupt(self) -> int:
    """Number of different corrupt records met, earlier runs included."""
    return len(self._corrupt.names)

  def close(self) -> None:
    """Stops threads and workers."""
    self._batches.close()
    if self.stacks is not None:
      self.stacks.close()


def eval_batches(
  source: Source,
  transform: Callable[[Example], Example],
  *,
  batch_size: int,
  num_threads: int = 16,
  process_index: int = 0,
  process_count: int = 1,
  buckets: Buckets | None = None,
) -> Iterator[Batch]:
  """Yields this process's share of each example once, in order.

  With `buckets` that is the order of length, and each example has 'length':
  the smallest bucket that holds the longest example of its global batch.
  Process p has examples p, p + process_count, ... All processes yield the same
  number of batches. Rows that only fill up the last one repeat the last
  example; they and the stand-ins for corrupt records are marked as not valid.

  Args:
    source: decoded examples, with `lengths` where there are buckets.
    transform: example -> arrays.
    batch_size: examples in a global batch, over all processes.
    num_threads: threads that read and transform.
    process_index: this process's number.
    process_count: number of processes that evaluate together.
    buckets: lengths of batches; None for examples that all have one shape.
      What is longer than the largest is for the transform to cut; a warning
      says how many examples that are.

  Returns:
    An iterator over dicts of arrays [batch_size // process_count, ...], among
    them 'valid', bool: False for rows to be left out.

  Raises:
    ValueError: an argument is outside its range.
  """
  rows = _local_batch_size(batch_size, process_index, process_count)
  check_reading(num_threads)
  if buckets is not None:
    source = SortedByLength(source, buckets, batch_size)
  num_batches = -(-len(source) // batch_size)
  examples = _EvalExamples(
    source, transform, num_batches * rows, process_index, process_count
  )
  batches = grain.MapDataset.source(examples).batch(rows, drop_remainder=True)
  return iter(batches.to_iter_dataset(_read_options(num_threads)))


class _EvalExamples:
  """One process's examples, with fill rows up to `length`."""

  def __init__(
    self,
    source: Source,
    transform: Callable[[Example], Example],
    length: int,
    process_index: int,
    process_count: int,
  ):
    self._source = source
    self._transform = transform
    self._length = length
    self._first = process_index
    self._stride = process_count

  def __len__(self) -> int:
    return self._length

  def __getitem__(self, row: int) -> Example:
    position = self._first + self._stride * row
    example = self._source[min(position, len(self._source) - 1)]
    decodable = example["record"] == example["requested"]
    if not decodable and position < len(self._source):
      logging.warning(
        "evaluation leaves out the corrupt record %s: %s",
        shown(self._source.record_name(position)),
        problem(self._source, position),
      )
    valid = decodable and position < len(self._source)
    return self._transform(example) | {"valid": np.bool_(valid)}


def check_reading(
  num_threads: int, num_workers: int = 0, max_corrupt: int = 0
) -> None:
  """Raises ValueError where so many threads and workers cannot be meant.

  Args:
    num_threads: threads that read, over all workers.
    num_workers: worker processes.
    max_corrupt: corrupt records to pass over.
  """
  check_range("batches", "num_threads", num_threads, 1, _MOST_THREADS)
  check_range("batches", "num_workers", num_workers, 0, _MOST_WORKERS)
  check_range("batches", "max_corrupt", max_corrupt, 0, _MOST_CORRUPT)


def _local_batch_size(
  batch_size: int, process_index: int, process_count: int
) -> int:
  check_range("batches", "batch_size", batch_size, 1, _LARGEST_BATCH)
  if batch_size % process_count:
    raise ValueError(
      f"batch_size={batch_size} must be a positive multiple of the "
      f"{process_count} processes"
    )
  if not 0 <= process_index < process_count:
    raise ValueError(
      f"process_index={process_index} must be at least 0 and below "
      f"process_count={process_count}"
    )
  return batch_size // process_count


def _read_options(num_threads: int) -> grain.ReadOptions:
  # What is buffered are whole batches, and fewer buffers than threads would
  # leave threads idle.
  return grain.ReadOptions(
    num_threads=num_threads, prefetch_buffer_size=num_threads
  )
