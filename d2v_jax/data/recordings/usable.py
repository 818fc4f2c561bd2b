"""Recordings of a source that can be used: chosen by length, and decoded."""

import abc
import logging
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from d2v_jax.data.files.unreadable import Unreadable, shown
from d2v_jax.data.source import Example

UNREADABLE = "unreadable or empty"
_SHOWN = 3  # recordings that an error names


class UsableRecordings(abc.ABC):
  """A source's recordings, decoded, and chosen by their length.

  Item i is what `read` gives of recording i with 'requested': i and 'record':
  j, or when that is corrupt of the next one that is not (j = i + 1, ...,
  around the end). So item i is always the same, whatever was read before.

  What cannot be used is left out here, counted and logged.

  Args:
    source: recordings, with `class_names`.
    lengths: int64 [n], samples of each; 0 where unreadable.
    reasons: why recordings are left out -> bool [n], which ones.

  Attributes:
    lengths: int64 [n], samples of each that is left.
    left_out: reason -> number of recordings.
    unreadable: name of a record left out as such -> why that is.
    class_names: the source's classes.
    owner: what these are, for errors.
    what: what they are called there.
    remedy: what to do where none is left.

  Raises:
    ValueError: every one is left out, or, when an item is read, there is no
      usable one at all.
  """

  owner: ClassVar[str]
  what: ClassVar[str]
  remedy: ClassVar[str]

  def __init__(
    self, source: Any, lengths: np.ndarray, reasons: Mapping[str, np.ndarray]
  ):
    self._source = source
    self.class_names = source.class_names
    self.unreadable = self._why_unreadable(np.flatnonzero(lengths == 0))
    self._kept = self._choose(reasons, lengths)
    self.lengths = lengths[self._kept]

  @abc.abstractmethod
  def read(self, number: int) -> Example:
    """Returns the example of a record of the source.

    Raises:
      Unreadable: why there is none.
    """

  def __len__(self) -> int:
    return len(self._kept)

  def __getitem__(self, index: int) -> Example:
    total = len(self)
    for offset in range(total):
      position = (index + offset) % total
      try:
        example = self.read(int(self._kept[position]))
      except Unreadable:
        continue
      return example | {"requested": index, "record": position}
    some = "; ".join(
      f"{shown(self.record_name(i))}: {self.problem(i)}"
      for i in range(min(_SHOWN, total))
    )
    raise ValueError(
      f"{self.owner}: none of the {total} {self.what} can be used ({some})"
    )

  def record_name(self, index: int) -> str:
    """Returns the source's name of recording `index`."""
    return self._source.record_name(int(self._kept[index]))

  def problem(self, index: int) -> str | None:
    """Returns why recording `index` cannot be used; None where it can."""
    return self._problem(int(self._kept[index]))

  def _problem(self, record: int) -> str | None:
    try:
      self.read(record)
    except Unreadable as error:
      return str(error)
    return None

  def _why_unreadable(self, records: np.ndarray) -> dict[str, str]:
    return {
      self._source.record_name(i): self._problem(i) or "its table says so"
      for i in records.tolist()
    }

  def _choose(
    self, reasons: Mapping[str, np.ndarray], lengths: np.ndarray
  ) -> np.ndarray:
    """Returns the indices kept, and counts the others by their first reason."""
    total = len(self._source)
    out = np.zeros(total, bool)
    self.left_out: dict[str, int] = {}
    details = []
    for reason, applies in reasons.items():
      new = np.flatnonzero(applies & ~out)
      if len(new):
        self.left_out[reason] = len(new)
        first = shown(self._source.record_name(int(new[0])))
        if reason == UNREADABLE:
          first += ": " + next(iter(self.unreadable.values()))
        details.append(f"{len(new)} {reason} (the first is {first})")
      out |= applies
    if out.all():
      raise ValueError(
        f"{self.owner}: none of {total} {self.what} is left: "
        f"{'; '.join(details) or 'the source is empty'}; {self.remedy}"
      )
    if details:
      logging.warning(
        "%s: left out %d of %d %s, %.0f %% of all samples: %s",
        self.owner,
        out.sum(),
        total,
        self.what,
        100 * int(lengths[out].sum()) / max(1, int(lengths.sum())),
        "; ".join(details),
      )
    return np.flatnonzero(~out)
