"""Which corrupt records a run has passed over, and how many it may."""

import logging

import numpy as np
from etils import epath

from d2v_jax.data.files.unreadable import shown
from d2v_jax.data.source import Source


class CorruptRecords:
  """The different corrupt records met so far, and their budget.

  Args:
    source: what names records; those in its `unreadable`, name -> reason, are
      known from the start.
    budget: different records that may be passed over.
    path: text file that keeps their names, one a line, each with a tab and why
      it cannot be used; None for none.

  Attributes:
    names: of the records, in the order in which they were met, with the reason
      for each.

  Raises:
    ValueError: there are more than `budget`, in the file already or later.
  """

  def __init__(self, source: Source, budget: int, path: epath.PathLike | None):
    self._source = source
    self._budget = budget
    self._path = None if path is None else epath.Path(path)
    self._indices: set[int] = set()
    self.names: dict[str, str] = {}
    if self._path is not None and self._path.exists():
      # A byte that is no text must not keep a run from going on.
      content = self._path.read_bytes().decode(errors="replace")
      lines = content.splitlines()
      parts = (line.partition("\t") for line in lines)
      self.names = {name: reason for name, _, reason in parts}
    for name, reason in getattr(source, "unreadable", {}).items():
      self._add(shown(name), reason)
    self._check()

  def record_names(self, records: np.ndarray) -> list[str]:
    """Names of records, corrupt or not, as they are shown."""
    return [shown(self._source.record_name(int(i))) for i in records]

  def note(self, requested: np.ndarray, record: np.ndarray) -> None:
    """Counts what was passed over between `requested` and `record`, [B]."""
    for row in np.flatnonzero(requested != record):
      start, end = _span(self._source, int(requested[row]))
      first, total = requested[row] - start, end - start
      length = (record[row] - requested[row]) % total
      passed = {start + int(first + k) % total for k in range(length)}
      for index in sorted(passed - self._indices):
        self._indices.add(index)
        name = shown(self._source.record_name(index))
        if name not in self.names:
          self._add(name, problem(self._source, index))
    self._check()

  def _add(self, name: str, reason: str) -> None:
    if name in self.names:
      return
    self.names[name] = reason
    logging.warning("passing over the corrupt record %s: %s", name, reason)
    if self._path is not None:
      # Object stores cannot append; the budget keeps the file small.
      lines = (f"{n}\t{r}\n" for n, r in self.names.items())
      self._path.write_text("".join(lines))

  def _check(self) -> None:
    if len(self.names) > self._budget:
      first = "; ".join(f"{n}: {r}" for n, r in list(self.names.items())[:5])
      where = "" if self._path is None else f" (all are in {self._path})"
      raise ValueError(
        f"train_batches: {len(self.names)} corrupt records are more than "
        f"max_corrupt={self._budget}; the first are {first}{where}; repair or "
        "remove them, or raise max_corrupt"
      )


def _span(source: Source, index: int) -> tuple[int, int]:
  """The records, from the first to the end, among which one stands in."""
  if hasattr(source, "span"):
    return source.span(index)
  return 0, len(source)


def problem(source: Source, index: int) -> str:
  """Returns why a record cannot be used, as one line.

  Args:
    source: of examples; one that finds records corrupt has `problem`.
    index: of the record.
  """
  reason = source.problem(index) if hasattr(source, "problem") else None
  return shown(reason or "it could not be read when it was its turn")
