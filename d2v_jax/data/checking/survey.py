"""What some of a source's records show."""

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import tqdm

from d2v_jax.data.checking.look import Look
from d2v_jax.data.class_sets import ClassSet
from d2v_jax.data.files.unreadable import Unreadable, shown
from d2v_jax.data.source import Record, Source

Label = int | float | ClassSet

_TOGETHER = 1024  # records that wait for a thread


@dataclasses.dataclass(frozen=True)
class Survey:
  """Some of a source's records, looked at.

  Attributes:
    name: of the source: its path in the config.
    source: records.
    looks: index of a record -> what it shows.
    unreadable: index of a record that is passed over -> why that is.
    broken: index of a record that stops a run -> the error.
    labels: index of a record that was looked at -> its label, where it is known
      and a number or a set of classes.
  """

  name: str
  source: Source
  looks: Mapping[int, Look]
  unreadable: Mapping[int, str]
  broken: Mapping[int, str]
  labels: Mapping[int, Label]

  @property
  def total(self) -> int:
    """Records that there are."""
    return len(self.source)

  @property
  def looked_at(self) -> int:
    """Records that were looked at."""
    return len(self.looks) + len(self.unreadable) + len(self.broken)

  @property
  def is_complete(self) -> bool:
    """Whether all records were looked at."""
    return self.looked_at == self.total

  def with_more(self, more: "Survey") -> "Survey":
    """What further records of the same source show, too."""
    return dataclasses.replace(
      self,
      looks={**self.looks, **more.looks},
      unreadable={**self.unreadable, **more.unreadable},
      broken={**self.broken, **more.broken},
      labels={**self.labels, **more.labels},
    )

  def record_name(self, index: int) -> str:
    """Returns a record's name as one line."""
    return shown(self.source.record_name(index))


def chosen(total: int, sample: int) -> list[int]:
  """Returns which records are looked at, the same ones each time, ascending.

  Args:
    total: records that there are.
    sample: how many of them, drawn at random; 0 for all.
  """
  if not 0 < sample < total:
    return list(range(total))
  drawn = np.random.default_rng(0).choice(total, sample, replace=False)
  return sorted(drawn.tolist())


def survey(
  name: str,
  source: Source,
  look: Callable[[Record], Look],
  indices: Sequence[int],
  *,
  threads: int = 1,
  seconds: float = math.inf,
  progress: bool = False,
) -> Survey:
  """Looks at records.

  Args:
    name: of the source.
    source: records.
    look: what is seen of one; raises Unreadable.
    indices: of the records.
    threads: that read them.
    seconds: after which no more are begun.
    progress: show it, where there is a terminal.
  """
  labels = known_labels(source)

  end = time.monotonic() + seconds

  def seen(index: int) -> _Seen | None:
    if time.monotonic() > end:
      return None
    label = None if labels is None else _as_label(labels[index])
    try:
      record = source[index]
      if label is None and "label" in record:
        label = _as_label(record["label"])
      return _Seen(label, look=look(record))
    except Unreadable as error:
      return _Seen(label, unreadable=str(error))
    except Exception as error:  # a source may be anybody's
      return _Seen(label, broken=f"{type(error).__name__}: {error}")

  found: dict[int, _Seen] = {}
  with (
    ThreadPoolExecutor(threads) as pool,
    tqdm.tqdm(
      desc=name,
      total=len(indices),
      unit=" records",
      disable=None if progress else True,
    ) as bar,
  ):
    for first in range(0, len(indices), _TOGETHER):
      some = indices[first : first + _TOGETHER]
      for index, one in zip(some, pool.map(seen, some), strict=True):
        if one is not None:
          found[index] = one
        bar.update()
  return Survey(
    name,
    source,
    {i: x.look for i, x in found.items() if x.look is not None},
    {
      i: shown(x.unreadable)
      for i, x in found.items()
      if x.unreadable is not None
    },
    {i: shown(x.broken) for i, x in found.items() if x.broken is not None},
    {i: x.label for i, x in found.items() if x.label is not None},
  )


def known_labels(source: Source) -> Sequence[Any] | None:
  """Returns the labels of all records where no record need be read for them."""
  labels = getattr(source, "labels", None)
  if labels is None or len(labels) != len(source):
    return None
  return labels


class _Seen(NamedTuple):
  """What one record shows, or why it shows nothing."""

  label: Label | None
  look: Look | None = None
  unreadable: str | None = None
  broken: str | None = None


def _as_label(value: Any) -> Label | None:
  if isinstance(value, tuple):
    return value
  array = np.asarray(value)
  if array.ndim or array.dtype.kind not in "biuf":
    return None
  return array.item()
