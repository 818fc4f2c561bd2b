"""Signals in one table, a row for each sample."""

import numpy as np

from d2v_jax.data.signals.rates import same_rates
from d2v_jax.data.source import Record
from d2v_jax.data.tables import Choice, Table

_OWNER = "LongTable"
# Steps of time may differ by this share from their median: clocks jitter.
_JITTER = 0.1


class LongTable:
  """Signals in one table (see `tables.Table`), a row for each sample.

  Rows with the same `id` are one signal, which takes the place of its first
  row. All numbers are read at the start.

  Args:
    path: the table.
    id: column that tells the signals apart.
    columns: those of the channels.
    time: column of the time in seconds: rows are put into its order, and the
      rate is 1 over the median step; steps must be even. None: rows are in
      order.
    rate: samples per second; None: as the times say, or the network's.
    split: short for `only={"split": split}`.
    only: column -> the value, or tuple of values, that a row must have.
    exclude: column -> the value, or tuple of values, that it must not have.
    label: column of the labels, the same in all rows of a signal; None for
      unlabelled.
    classes: the classes in the order of their numbers; None for the sorted
      distinct labels of the whole table.
    numeric: labels are numbers, not classes.

  Attributes:
    sizes: int64 [n], samples of each signal.
    rates: float64 [n], samples per second of each; 0 where that is not known.
    labels: of each signal; None if unlabelled.
    class_names: the classes; empty if unlabelled or `numeric`.

  Raises:
    ValueError: what `Table` raises, a value that is no number, uneven times, or
      several labels of a signal.
  """

  def __init__(
    self,
    path: str,
    id: str,
    columns: tuple[str, ...],
    time: str | None = None,
    rate: float | None = None,
    *,
    split: str | None = None,
    only: Choice | None = None,
    exclude: Choice | None = None,
    label: str | None = None,
    classes: tuple[str, ...] | None = None,
    numeric: bool = False,
  ):
    if not columns:
      raise ValueError(f"{_OWNER}: columns must name at least one channel")
    table = Table(
      path,
      split=split,
      only=only,
      exclude=exclude,
      label=label,
      classes=classes,
      numeric=numeric,
    )
    values = np.stack([_numbers(table, name) for name in columns], 1)
    number: dict[str, int] = {}
    member = np.array(
      [number.setdefault(x, len(number)) for x in table.column(id)]
    )
    order = np.argsort(member, kind="stable")
    times = None if time is None else _numbers(table, time)
    if times is not None:
      order = np.lexsort((times, member))
    self._path, self._ids = path, list(number)
    self.sizes = np.bincount(member)  # [n]
    self._ends = np.cumsum(self.sizes)
    self._values = values[order]
    self.rates = same_rates(_OWNER, rate, len(self))
    if rate is None and times is not None:
      sorted_times = times[order]
      self.rates = np.array(
        [self._rate(i, self._part(sorted_times, i)) for i in range(len(self))]
      )
    self.class_names = table.class_names
    self.labels: list[int] | list[float] | None = None
    if table.labels is not None:
      self.labels = self._labels(np.array(table.labels)[order])

  def __len__(self) -> int:
    return len(self._ids)

  def __getitem__(self, index: int) -> Record:
    record: Record = {"signal": self._part(self._values, index)}
    if self.labels is not None:
      record["label"] = self.labels[index]
    return record

  def record_name(self, index: int) -> str:
    """Returns for example 'walks.csv[anna-3]'."""
    return f"{self._path}[{self._ids[index]}]"

  def _part(self, values: np.ndarray, index: int) -> np.ndarray:
    """Of the rows in order, those of a signal."""
    end = self._ends[index]
    return values[end - self.sizes[index] : end]

  def _rate(self, index: int, times: np.ndarray) -> float:
    steps = np.diff(times)
    if not len(steps):
      return 0.0
    step = np.median(steps)
    off = np.abs(steps - step)
    if not (step > 0 and off.max() <= _JITTER * step):
      raise ValueError(
        f"{_OWNER}: {self.record_name(index)}: the times go on by "
        f"{steps.min():g} to {steps.max():g} s, but samples must be evenly "
        "spaced; resample the signal, or part it into several at the gaps"
      )
    return float(1 / step)

  def _labels(self, labels: np.ndarray) -> list[int] | list[float]:
    made = []
    for i in range(len(self)):
      own = np.unique(self._part(labels, i))
      if len(own) > 1:
        raise ValueError(
          f"{_OWNER}: {self.record_name(i)} has {len(own)} different labels, "
          "and a signal has one; give its parts ids of their own"
        )
      made.append(own[0].item())
    return made


def _numbers(table: Table, column: str) -> np.ndarray:
  """A column as float64 [rows]; NaN where a value is missing."""
  texts = list(table.column(column))
  try:
    return np.array([x or "nan" for x in texts], np.float64)
  except ValueError:
    pass
  for i, text in enumerate(texts):
    try:
      float(text or "nan")
    except ValueError as error:
      raise ValueError(
        f"{_OWNER}: {table.name(i)}: {column!r} is {text!r}, which is not a "
        "number"
      ) from error
  raise AssertionError("unreachable")
