"""Several sources in one, each with a share of the examples that are drawn."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from d2v_jax.config import ConfigError
from d2v_jax.data.corrupt import problem
from d2v_jax.data.mixture import Mixture
from d2v_jax.data.source import Example, Record, Source

# Beside the number of an epoch, which is drawn from (seed, epoch).
_OF_A_SOURCE = 1


class _Joined:
  """The items of several sources, one source after the other.

  Attributes:
    parts: the sources.
    sizes: number of items of each, int64 [sources].
  """

  def __init__(self, parts: Sequence[Source]):
    self.parts = tuple(parts)
    self.sizes = np.array([len(part) for part in parts], np.int64)
    self._ends = np.cumsum(self.sizes)

  def __len__(self) -> int:
    return int(self._ends[-1])

  def record_name(self, index: int) -> str:
    """Returns the source's name of record `index`."""
    part, _, inside = self._find(index)
    return part.record_name(inside)

  def _find(self, index: int) -> tuple[Source, int, int]:
    """Returns the source of an item, its first index, the index in it."""
    k = int(np.searchsorted(self._ends, index, side="right"))
    start = int(self._ends[k] - self.sizes[k])
    return self.parts[k], start, int(index) - start

  def _classes(self) -> list[tuple[str, ...]]:
    return [tuple(getattr(part, "class_names", ())) for part in self.parts]


class MixedRecords(_Joined):
  """Records of several sources: those of the first, of the second, and so on.

  Args:
    parts: the sources.
    mixture: their names and shares.

  Attributes:
    class_names: the classes, if they are the same in all sources, else ().
    identity: of all sources.
    labels: of all records, if all sources know them; None if they do not.
  """

  def __init__(self, parts: Sequence[Source], mixture: Mixture):
    super().__init__(parts)
    self.mixture = mixture
    self.identity = {
      name: value
      for part in parts
      for name, value in getattr(part, "identity", {}).items()
    }
    classes = set(self._classes())
    self.class_names = classes.pop() if len(classes) == 1 else ()
    labels: list[Any] = [getattr(part, "labels", None) for part in parts]
    self.labels: list[Any] | None = None
    if all(x is not None for x in labels):
      self.labels = [label for some in labels for label in some]

  def __getitem__(self, index: int) -> Record:
    part, _, inside = self._find(index)
    return part[inside]


class MixedExamples(_Joined):
  """Examples of several sources: those of the first, of the second, and so on.

  An epoch has as many examples as all sources together, and of each source its
  share of them, rounded to whole ones. A source gives them in an order of its
  own, which goes on from epoch to epoch; once all of its examples were used it
  is shuffled anew. A corrupt one is replaced by another of the same source.

  Args:
    parts: the sources.
    mixture: their names and shares.

  Attributes:
    names: of the sources.
    wanted: their shares, float64 [sources].
    counts: how many examples of each an epoch has, int64 [sources].
    lengths: of the examples, int64 [n], if all sources have them.
    unreadable: name -> reason of records that all sources have left out.
    identity: what a run must find again to go on.

  Raises:
    ValueError: a share is too small for one example of an epoch.
  """

  def __init__(self, parts: Sequence[Source], mixture: Mixture):
    super().__init__(parts)
    self.names = mixture.labels()
    self.wanted = mixture.shares(self.sizes.tolist())
    self.counts = _rounded(self.wanted * len(self))
    for name, count, share in zip(
      self.names, self.counts, self.wanted, strict=True
    ):
      if not count:
        raise ValueError(
          f"Mixture: a share of {share:.2g} of {len(self)} examples is none of "
          f"{name}; raise its weight, or leave it out"
        )
    lengths = [getattr(part, "lengths", None) for part in parts]
    if all(x is not None for x in lengths):
      self.lengths = np.concatenate(lengths)
    self.unreadable = {
      name: reason
      for part in parts
      for name, reason in getattr(part, "unreadable", {}).items()
    }
    self.identity = {
      f"examples of source {k} of the mixture": int(size)
      for k, size in enumerate(self.sizes)
    }

  def __getitem__(self, index: int) -> Example:
    part, start, inside = self._find(index)
    example = part[inside]
    at = {key: example[key] + start for key in ("requested", "record")}
    return {**example, **at}

  @property
  def class_names(self) -> tuple[str, ...]:
    """The classes, the same in all sources.

    Raises:
      ConfigError: they are not.
    """
    classes = self._classes()
    if len(set(classes)) > 1:
      listed = "; ".join(
        f"{name} has {', '.join(x) or 'none'}"
        for name, x in zip(self.names, classes, strict=True)
      )
      raise ConfigError(
        "config.data.source: the sources of the mixture have different "
        f"classes: {listed}. To learn them each must have the same, in the "
        "same order (see the argument `classes` of sources)."
      )
    return classes[0]

  def problem(self, index: int) -> str:
    """Returns why record `index` cannot be used."""
    part, _, inside = self._find(index)
    return problem(part, inside)

  def span(self, index: int) -> tuple[int, int]:
    """Returns the first index of the source of an example, and its end."""
    part, start, _ = self._find(index)
    return start, start + len(part)

  def shares(self, indices: np.ndarray) -> np.ndarray:
    """Returns how much of some examples is of each source, float64 [sources].

    Args:
      indices: of examples, int [n].
    """
    of = np.searchsorted(self._ends, indices, side="right")
    return np.bincount(of, minlength=len(self.parts)) / max(1, len(of))

  def drawn(self, seed: int, epoch: int) -> np.ndarray:
    """Returns the examples of an epoch, source by source, int32 [n].

    Args:
      seed: of the order.
      epoch: its number, from 0.
    """
    found = []
    for k, (size, count) in enumerate(
      zip(self.sizes.tolist(), self.counts.tolist(), strict=True)
    ):
      first = epoch * count
      passes = range(first // size, -(-(first + count) // size))
      order = np.concatenate(
        [
          np.random.default_rng((seed, k, n, _OF_A_SOURCE)).permutation(size)
          for n in passes
        ]
      )
      begin = first - passes[0] * size
      start = int(self._ends[k]) - size
      found.append(order[begin : begin + count].astype(np.int32) + start)
    return np.concatenate(found, dtype=np.int32)

  def described(self) -> str:
    """Returns the shares in words, for the start of a run."""
    parts = [
      f"{name} {share:.4g} (an epoch has {count} of its {size} examples"
      + (f", each {count / size:.3g} times)" if count > size else ")")
      for name, share, count, size in zip(
        self.names, self.wanted, self.counts, self.sizes, strict=True
      )
    ]
    return f"mixture: {'; '.join(parts)}"


def _rounded(wanted: np.ndarray) -> np.ndarray:
  """Returns whole numbers of the same sum, int64: the largest rests go up."""
  whole = np.floor(wanted).astype(np.int64)
  missing = round(float(wanted.sum())) - int(whole.sum())
  order = np.argsort(whole - wanted, kind="stable")  # largest rest first
  whole[order[:missing]] += 1
  return whole
