"""Files of one signal each: .npy arrays, and .csv tables of numbers."""

import csv
from collections.abc import Sequence

import numpy as np

from d2v_jax.data.files.class_folders import class_folders
from d2v_jax.data.files.unreadable import Unreadable, check_file
from d2v_jax.data.label_values import LabelValues
from d2v_jax.data.signals.rates import same_rates
from d2v_jax.data.source import Record
from d2v_jax.data.tables import Choice, Table

EXTENSIONS = (".csv", ".npy")


class SignalFiles:
  """Files of one signal each, read when asked for.

  `.npy`: numbers [T, C]. `.csv`: a line of names, then a line of numbers,
  parted by commas, for each sample.

  Args:
    files: paths.
    rates: samples per second of each, float64 [n]; 0 where that is not known.
    columns: of a .csv file those that are the channels, in this order; None for
      all.
    labels: class number, set of them or score of each file; None when
      unlabelled.
    class_names: the classes.

  Attributes:
    sizes: int64 [n], samples of each; 0 where unreadable. All files are looked
      at in the beginning: .npy's headers are short, .csv files are counted.
  """

  def __init__(
    self,
    files: Sequence[str],
    rates: np.ndarray,
    columns: tuple[str, ...] | None = None,
    labels: LabelValues | None = None,
    class_names: tuple[str, ...] = (),
  ):
    self._files, self._columns = files, columns
    self.rates, self.labels, self.class_names = rates, labels, class_names
    self.sizes = np.fromiter(map(_size, files), np.int64, len(files))

  def __len__(self) -> int:
    return len(self._files)

  def __getitem__(self, index: int) -> Record:
    record: Record = {"signal": read(self._files[index], self._columns)}
    if self.labels is not None:
      record["label"] = self.labels[index]
    return record

  def record_name(self, index: int) -> str:
    """Returns the path of the file."""
    return self._files[index]


class SignalFolder(SignalFiles):
  """Files of signals under a folder, in sorted order.

  Args:
    path: a mounted folder, listed as `walk` does.
    rate: samples per second; None: the network's.
    columns: see `SignalFiles`.
    labels: True: the sorted names of the sub-folders that hold signals are the
      classes 0, 1, ... False: no labels, files are taken from any depth.
      None: labelled when there are such sub-folders and no file beside them.

  Attributes:
    listing: what is read, and what is left out.

  Raises:
    ValueError: no such folder, no signal in it, or `labels=True` without class
      folders or with files beside them.
  """

  def __init__(
    self,
    path: str,
    rate: float | None = None,
    columns: tuple[str, ...] | None = None,
    labels: bool | None = None,
  ):
    found = class_folders(
      path, EXTENSIONS, labels, owner="SignalFolder", what="signals"
    )
    rates = same_rates("SignalFolder", rate, len(found.files))
    super().__init__(
      found.files, rates, columns, found.labels, found.class_names
    )
    self.listing = found.listing


class SignalTable(SignalFiles):
  """Files of signals listed in a table (see `tables.Table`).

  Columns are `path`; `rate`, if files differ in it; and a label, if there is
  one.

  Args:
    path: the table.
    root: folder that relative paths start from; None for the table's.
    rate: samples per second; None: as the column says, or the network's.
    columns: see `SignalFiles`.
    split: short for `only={"split": split}`.
    only: column -> the value, or tuple of values, that a row must have.
    exclude: column -> the value, or tuple of values, that it must not have.
    label: column of the labels; None for unlabelled.
    classes: the classes in the order of their numbers; None for the sorted
      distinct labels of the whole table.
    numeric: labels are numbers, not classes.
    label_separator: what parts several classes of a row, see `tables.Table`.

  Raises:
    ValueError: what `Table` raises; the first files are not there, or a rate is
      no number.
  """

  def __init__(
    self,
    path: str,
    root: str | None = None,
    rate: float | None = None,
    columns: tuple[str, ...] | None = None,
    *,
    split: str | None = None,
    only: Choice | None = None,
    exclude: Choice | None = None,
    label: str | None = None,
    classes: tuple[str, ...] | None = None,
    numeric: bool = False,
    label_separator: str | None = None,
  ):
    table = Table(
      path,
      split=split,
      only=only,
      exclude=exclude,
      label=label,
      classes=classes,
      numeric=numeric,
      label_separator=label_separator,
    )
    files = table.files(root, "SignalTable")
    rates = same_rates("SignalTable", rate, len(table))
    if rate is None and "rate" in table.columns:
      rates = np.array([_rate(table, i) for i in range(len(table))])
    super().__init__(files, rates, columns, table.labels, table.class_names)


def read(path: str, columns: tuple[str, ...] | None = None) -> np.ndarray:
  """Reads the signal of a file.

  Args:
    path: of a .npy or .csv file.
    columns: see `SignalFiles`.

  Returns:
    Numbers [T, C].

  Raises:
    Unreadable: there is none.
  """
  check_file(path)
  try:
    if not path.lower().endswith(".csv"):
      signal = np.load(path, allow_pickle=False)
    else:
      signal = _csv(path, columns)
  except Unreadable:
    raise
  except (OSError, ValueError, EOFError, csv.Error) as error:
    raise Unreadable(f"no numbers can be read from it: {error}") from error
  if signal.ndim != 2 or signal.dtype.kind not in "iuf":
    raise Unreadable(
      f"it has {signal.dtype} {list(signal.shape)}, not numbers [samples, "
      "channels]"
    )
  return signal


def _csv(path: str, columns: tuple[str, ...] | None) -> np.ndarray:
  with open(path, newline="", encoding="utf-8-sig") as file:
    head, *rows = [row for row in csv.reader(file, strict=True) if row] or [[]]
  names = [name.strip() for name in head]
  chosen = names if columns is None else list(columns)
  for name in chosen:
    if names.count(name) != 1:
      raise Unreadable(
        f"it has {'no' if name not in names else 'more than one'} column "
        f"{name!r}, only {', '.join(names)}"
      )
  if names and all(map(_is_number, names)):
    raise Unreadable(
      f"its first line is {', '.join(names[:4])}: numbers, where the names of "
      "the channels belong; put a line of names above it"
    )
  for number, row in enumerate(rows):
    if len(row) != len(names):
      raise Unreadable(
        f"its row {number} has {len(row)} values and the first line "
        f"{len(names)} names; part them by commas, and write decimals with a "
        "point"
      )
  at = [names.index(name) for name in chosen]
  # strings -> [T, C]
  signal = np.array([[row[i] for i in at] for row in rows], np.float64)
  return signal.reshape(len(rows), len(at))


def _is_number(text: str) -> bool:
  try:
    float(text)
  except ValueError:
    return False
  return True


def _size(path: str) -> int:
  """Samples of a file; 0 where it cannot be read."""
  try:
    check_file(path)
    if path.lower().endswith(".csv"):
      with open(path, "rb") as file:
        return max(0, sum(1 for line in file if line.strip()) - 1)
    return len(np.load(path, mmap_mode="r", allow_pickle=False))
  except (OSError, ValueError, EOFError, TypeError):
    return 0


def _rate(table: Table, index: int) -> float:
  text = table.column("rate")[index]
  try:
    rate = float(text)
  except ValueError:
    rate = 0.0
  if not 0 < rate < np.inf:
    raise ValueError(
      f"SignalTable: {table.name(index)}: 'rate' is {text!r}; it must be the "
      "samples per second, a number above 0"
    )
  return rate
