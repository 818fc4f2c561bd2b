"""The order in which examples of a mixture come, and what they are made of."""

import sys
from typing import Protocol

import numpy as np

from d2v_jax.data.epochs import kept
from d2v_jax.data.mixed_examples import MixedExamples
from d2v_jax.data.source import Example


class Order(Protocol):
  """An endless stream of examples, batch after batch."""

  def batch(self, number: int) -> np.ndarray:
    """Returns the examples of a global batch, int [batch_size]."""
    ...


class MixedStream:
  """The endless stream of a mixture's examples that all have one shape.

  Item g is example g % n of epoch g // n, which is in random order; it depends
  on the mixture, `seed` and g alone.

  Args:
    source: the mixture.
    batch_size: examples in a global batch.
    seed: of the order.
  """

  def __init__(self, source: MixedExamples, batch_size: int, seed: int):
    self._source = source
    self._batch_size = batch_size
    self._seed = seed
    self._epochs: dict[int, np.ndarray] = {}

  def __len__(self) -> int:
    return sys.maxsize

  def __getitem__(self, index: int) -> Example:
    return self._source[self._at(int(index))]

  def batch(self, number: int) -> np.ndarray:
    """Returns the examples of a global batch, int [batch_size]."""
    first = number * self._batch_size
    return np.array([self._at(first + k) for k in range(self._batch_size)])

  def _at(self, position: int) -> int:
    epoch, place = divmod(position, len(self._source))
    return int(kept(self._epochs, epoch, self._order)[place])

  def _order(self, epoch: int) -> np.ndarray:
    drawn = self._source.drawn(self._seed, epoch)
    return np.random.default_rng((self._seed, epoch)).permutation(drawn)


class MixedShares:
  """What the batches of a mixture are made of.

  Args:
    source: the mixture.
    order: that its examples come in.
  """

  def __init__(self, source: MixedExamples, order: Order) -> None:
    self._source, self._order = source, order

  def described(self) -> str:
    """Returns the shares in words."""
    return self._source.described()

  def shares(self, start: int, stop: int) -> dict[str, float]:
    """Returns the shares of sources, as metrics: those wanted, and those had.

    Args:
      start: index of the first global batch.
      stop: index of the batch behind the last.
    """
    batches = [self._order.batch(number) for number in range(start, stop)]
    had = self._source.shares(np.concatenate(batches))
    both = {"share_wanted": self._source.wanted, "share": had}
    return {
      f"{kind}/{name}": float(value)
      for kind, values in both.items()
      for name, value in zip(self._source.names, values, strict=True)
    }
