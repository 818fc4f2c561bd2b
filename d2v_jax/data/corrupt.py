"""Which corrupt records a run has passed over, and how many it may."""

import logging

import numpy as np
from etils import epath

from d2v_jax.data.source import Source


class CorruptRecords:
  """The different corrupt records met so far, and their budget.

  Args:
    source: what names records.
    budget: different records that may be passed over.
    path: text file that keeps their names, one a line; None for none.

  Attributes:
    names: of the records, in the order in which they were met.

  Raises:
    ValueError: there are more than `budget`, in the file already or later.
  """

  def __init__(self, source: Source, budget: int, path: epath.PathLike | None):
    self._source = source
    self._budget = budget
    self._path = None if path is None else epath.Path(path)
    self._indices: set[int] = set()
    self.names: dict[str, None] = {}  # a set that keeps its order
    if self._path is not None and self._path.exists():
      lines = self._path.read_text().splitlines()
      self.names = dict.fromkeys(lines)
    self._check()

  def note(self, requested: np.ndarray, record: np.ndarray) -> None:
    """Counts what was passed over between `requested` and `record`, [B]."""
    total = len(self._source)
    for row in np.flatnonzero(requested != record):
      first, length = requested[row], (record[row] - requested[row]) % total
      passed = {int(first + k) % total for k in range(length)}
      for index in sorted(passed - self._indices):
        self._indices.add(index)
        self._add(self._source.record_name(index))
    self._check()

  def _add(self, name: str) -> None:
    if name in self.names:
      return
    self.names[name] = None
    logging.warning("passing over the corrupt record %s", name)
    if self._path is not None:
      # Object stores cannot append; the budget keeps the file small.
      self._path.write_text("".join(f"{n}\n" for n in self.names))

  def _check(self) -> None:
    if len(self.names) > self._budget:
      first = ", ".join(list(self.names)[:5])
      where = "" if self._path is None else f" (all are in {self._path})"
      raise ValueError(
        f"train_batches: {len(self.names)} corrupt records are more than "
        f"max_corrupt={self._budget}; the first are {first}{where}; repair or "
        "remove them, or raise max_corrupt"
      )
