"""Batches of examples of similar length, so that little of them is padding."""

import dataclasses
import logging
import math
import sys
from typing import Any

import numpy as np

from d2v_jax.data.corrupt import problem
from d2v_jax.data.epochs import kept
from d2v_jax.data.ranges import check_range
from d2v_jax.data.source import Example, Source

_GROWTH = 1.25


@dataclasses.dataclass(frozen=True)
class Buckets:
  """The lengths that batches have; each costs one compilation.

  Args:
    lengths: ascending, in samples (speech) or tokens (text).

  Raises:
    ValueError: `lengths` is empty, not ascending or not positive.
  """

  lengths: tuple[int, ...]

  def __post_init__(self) -> None:
    ascending = tuple(sorted(set(self.lengths)))
    if not ascending or ascending != tuple(self.lengths) or ascending[0] < 1:
      raise ValueError(
        "Buckets: lengths must be one or more positive numbers in ascending "
        f"order, got {self.lengths}"
      )
    check_range("Buckets", "lengths", ascending[-1], 1, 2**31 - 1)  # int32

  def assign(self, lengths: np.ndarray) -> np.ndarray:
    """Returns the index of the smallest bucket that holds each example.

    Args:
      lengths: int, any shape; beyond the largest bucket it is that one.
    """
    held = np.searchsorted(self.lengths, lengths)
    return np.minimum(held, len(self.lengths) - 1)

  def discarded(self, lengths: np.ndarray) -> float:
    """Returns the share of all examples that the largest bucket crops away.

    Args:
      lengths: int [n], of examples.
    """
    total = int(np.sum(lengths, dtype=np.int64))
    held = np.minimum(lengths, self.lengths[-1])
    return 1 - int(held.sum(dtype=np.int64)) / total if total else 0.0


def growing(shortest: int, longest: int) -> Buckets:
  """Returns buckets of which each is a quarter longer than the one before.

  Args:
    shortest: the first, in samples or tokens.
    longest: the last; what is longer must be cut.
  """
  lengths = [min(shortest, longest)]
  while lengths[-1] < longest:
    lengths.append(min(longest, math.ceil(lengths[-1] * _GROWTH)))
  return Buckets(tuple(lengths))


def epoch_batches(
  assigned: np.ndarray, batch_size: int, seed: int, epoch: int
) -> tuple[np.ndarray, np.ndarray]:
  """Returns the batches of one epoch, each of one bucket, in random order.

  In each bucket, smallest first, shuffled examples fill batches; those left
  over move up to the next larger bucket. So that all batches are full, fewer
  than `batch_size` examples sit the epoch out, whichever their length; in each
  epoch others.

  Args:
    assigned: int [n], each example's bucket.
    batch_size: examples in a global batch.
    seed: of the order.
    epoch: its number, from 0; each has an order of its own.

  Returns:
    examples: int32 [n // batch_size, batch_size], indices of examples.
    buckets: int32 [n // batch_size], each batch's bucket.
  """
  rng = np.random.default_rng((seed, epoch))
  num_batches = len(assigned) // batch_size
  shuffled = rng.permutation(len(assigned)).astype(np.int32)
  shuffled = shuffled[: num_batches * batch_size]
  examples, buckets = [], []
  left_over = shuffled[:0]
  for bucket in np.unique(assigned[shuffled]):
    members = shuffled[assigned[shuffled] == bucket]
    waiting = np.concatenate([left_over, members])
    filled = len(waiting) // batch_size * batch_size
    examples.append(waiting[:filled].reshape(-1, batch_size))
    buckets.append(np.full(len(examples[-1]), bucket, np.int32))
    left_over = waiting[filled:]
  order = rng.permutation(num_batches)
  return np.concatenate(examples)[order], np.concatenate(buckets)[order]


class BucketStream:
  """The endless stream of training examples, batch after batch of one length.

  Item g is row g % batch_size of batch g // batch_size: an example of the
  source with 'length', the batch's. It depends on the source, `buckets`,
  `batch_size`, `seed` and g alone. An epoch has every example of the source
  once, or those that a mixture draws for it.

  Args:
    source: examples with `lengths`, int [n].
    buckets: the lengths of batches.
    batch_size: examples in a global batch.
    seed: of the order.

  Raises:
    ValueError: there are fewer examples than `batch_size`, or the source has
      no lengths.
  """

  def __init__(self, source: Any, buckets: Buckets, batch_size: int, seed: int):
    lengths = _lengths(source)
    if len(lengths) < batch_size:
      raise ValueError(
        f"train_batches: {len(lengths)} examples do not fill one batch of "
        f"batch_size={batch_size}, and in buckets none is repeated within an "
        "epoch; lower batch_size"
      )
    if share := buckets.discarded(lengths):
      logging.warning(
        "training crops %d of %d examples to the largest bucket, %d: %.0f %% "
        "of all there is to learn from sits out each epoch, the longest "
        "example has %d; longer config.data.buckets.lengths keep more",
        (lengths > buckets.lengths[-1]).sum(),
        len(lengths),
        buckets.lengths[-1],
        100 * share,
        lengths.max(),
      )
    self._source = source
    self._buckets = buckets
    self._assigned = buckets.assign(lengths).astype(np.int32)
    self._batch_size = batch_size
    self._seed = seed
    self._epochs: dict[int, tuple[np.ndarray, np.ndarray]] = {}

  def __len__(self) -> int:
    return sys.maxsize

  def __getitem__(self, index: int) -> Example:
    batch, row = divmod(int(index), self._batch_size)
    epoch, batch = divmod(batch, len(self._assigned) // self._batch_size)
    examples, buckets = kept(self._epochs, epoch, self._order)
    length = self._buckets.lengths[buckets[batch]]
    return self._source[int(examples[batch, row])] | {"length": length}

  def batch(self, number: int) -> np.ndarray:
    """Returns the examples of a global batch, int32 [batch_size]."""
    epoch, batch = divmod(number, len(self._assigned) // self._batch_size)
    return kept(self._epochs, epoch, self._order)[0][batch]

  def _order(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
    size, seed = self._batch_size, self._seed
    if not hasattr(self._source, "drawn"):
      return epoch_batches(self._assigned, size, seed, epoch)
    drawn = self._source.drawn(seed, epoch)
    places, buckets = epoch_batches(self._assigned[drawn], size, seed, epoch)
    return drawn[places], buckets


class SortedByLength:
  """A source in order of length, for evaluation in batches of one length.

  Item i is the example that is i-th in length (equally long ones keep their
  order) with 'length': the smallest bucket that holds the longest example of
  its global batch. Warns when examples are longer than the largest bucket.

  Args:
    source: examples with `lengths`, int [n].
    buckets: the lengths of batches.
    batch_size: examples in a global batch.

  Raises:
    ValueError: the source has no lengths.
  """

  def __init__(self, source: Source, buckets: Buckets, batch_size: int):
    lengths = _lengths(source)
    self._source = source
    self._order = np.argsort(lengths, kind="stable").astype(np.int32)
    size, largest = len(lengths), buckets.lengths[-1]
    batch = np.arange(size) // batch_size
    last = self._order[np.minimum((batch + 1) * batch_size, size) - 1]
    held = buckets.assign(lengths[last])
    self._lengths = np.asarray(buckets.lengths)[held]
    if num_cut := int((lengths > largest).sum()):
      logging.warning(
        "evaluation cuts %d of %d examples to the largest bucket, %d: %.0f %% "
        "of all there is",
        num_cut,
        size,
        largest,
        100 * buckets.discarded(lengths),
      )

  def __len__(self) -> int:
    return len(self._order)

  def __getitem__(self, index: int) -> Example:
    example = self._source[int(self._order[index])]
    return example | {"length": int(self._lengths[index])}

  def record_name(self, index: int) -> str:
    """Returns the source's name of the record that is `index`-th in length."""
    return self._source.record_name(int(self._order[index]))

  def problem(self, index: int) -> str:
    """Returns why that record cannot be used."""
    return problem(self._source, int(self._order[index]))


def _lengths(source: Source) -> np.ndarray:
  lengths = getattr(source, "lengths", None)
  if lengths is None or len(lengths) != len(source):
    raise ValueError(
      f"buckets: {type(source).__name__} has no lengths of its "
      f"{len(source)} examples; images all have one size, so leave buckets out"
    )
  return np.asarray(lengths)
