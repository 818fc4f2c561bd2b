"""Tables of records, rows chosen by column."""

import itertools
import math
import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from etils import epath

from d2v_jax.data import class_sets, table_files
from d2v_jax.data.class_names import check_alike
from d2v_jax.data.class_sets import ClassSet
from d2v_jax.data.columns import Below, Made, Rows, TextColumn
from d2v_jax.data.files.unreadable import shown
from d2v_jax.data.label_values import LabelValues
from d2v_jax.data.table_files import as_text

Value = str | int | float
Choice = Mapping[str, Value | tuple[Value, ...]]

_SHOWN = 20  # values that an error lists
_LOOKED_AT = 100  # files, to see whether the paths lead anywhere


class Table:
  """The chosen rows of a table, with their labels.

  The ending says which rules hold. `.csv`: a header line, then rows, columns
  parted by commas; a value in quotes may hold commas, line breaks and doubled
  quotes. `.tsv`: the same with tabs, but a value stays on its line. `.jsonl`:
  one object a line, whose numbers and booleans become their JSON text, whole
  numbers without a fraction. `.parquet`: likewise. All but the last may be
  compressed (`.csv.gz`), and are UTF-8, but for the columns `path` and `label`,
  as names of files and folders need not be. Empty lines are skipped. The empty
  text, null, a key that is absent and a number that is none are all a missing
  value.

  Args:
    path: the file.
    split: short for `only={"split": split}`.
    only: column -> the value, or tuple of values, that a row must have.
    exclude: column -> the value, or tuple of values, that a row must not have,
      such as {"speaker": ("theo",)} to hold out a speaker.
    label: column of the labels; None for an unlabelled table.
    classes: the classes in the order of their numbers; None for the sorted
      distinct labels of the whole file, so that all its splits agree.
    numeric: labels are numbers, not classes.
    label_separator: what parts the classes of a row, which may have several or
      none; a list of them in `.jsonl` and `.parquet` may do, too. None: a row
      has one class.
    quotes: of `.tsv`: a value that begins with a quote is a quoted one. False:
      quotes are characters like others.

  Attributes:
    columns: names of the columns.
    rows: the chosen rows, column -> text; each is made when it is asked for.
    labels: int class numbers, floats if `numeric`, or sets of class numbers if
      `label_separator`; None if unlabelled.
    class_names: the classes; empty if unlabelled or `numeric`.

  Raises:
    ValueError: no such file, a broken line, a column or value that the table
      does not have, no row left, a label that is none, or classes that differ
      in what cannot be seen.
  """

  def __init__(
    self,
    path: epath.PathLike,
    *,
    split: str | None = None,
    only: Choice | None = None,
    exclude: Choice | None = None,
    label: str | None = None,
    classes: tuple[str, ...] | None = None,
    numeric: bool = False,
    label_separator: str | None = None,
    quotes: bool = True,
  ):
    self._path = epath.Path(path)
    if label is None and (classes is not None or numeric or label_separator):
      raise ValueError(
        f"Table: got classes={classes}, label_separator={label_separator!r} "
        f"and numeric={numeric} but no label column; set label"
      )
    if label_separator is not None and numeric:
      raise ValueError("Table: give label_separator or numeric=True, not both")
    if classes is not None and numeric:
      raise ValueError("Table: give classes or numeric=True, not both")
    every, lines = table_files.read(
      self._path, quotes, label if label_separator is not None else None
    )
    self.columns = tuple(every.columns)
    mask = self._choose(every, split, only, exclude)
    self.rows = every if mask.all() else _chosen(every, mask)
    self._lines = lines[mask]
    self.class_names: tuple[str, ...] = ()
    self.labels: LabelValues | None = None
    if label is None:
      return
    self._check_column(label, "label")
    values = self.rows.columns[label]
    if numeric:
      self.labels = [
        self._number(i, label, text) for i, text in enumerate(values)
      ]
      return
    if label_separator is not None:
      self.labels, self.class_names = self._sets(
        every, mask, label, label_separator, classes
      )
      return
    if classes is None:
      classes = tuple(sorted(set(every.columns[label]) - {""}))
      check_alike(
        classes, f"Table: {label!r}", "make them one, or give classes"
      )
    self.class_names = tuple(classes)
    if len(set(self.class_names)) != len(self.class_names):
      raise ValueError(f"Table: classes has a class twice: {classes}")
    number = {name: k for k, name in enumerate(self.class_names)}
    for i, value in enumerate(values):
      if not value:
        missing = sum(not value for value in values)
        raise ValueError(
          f"Table: {self.name(i)}: {label!r} is missing, as in {missing} of "
          f"{len(self.rows)} rows; fill it in, or leave such rows out with "
          f"exclude={{{label!r}: ''}}"
        )
      if value not in number:
        raise ValueError(
          f"Table: {self.name(i)}: {label!r} is {value!r}, which is not "
          f"among the classes {_listed(self.class_names)}"
        )
    self.labels = [number[value] for value in values]

  def __len__(self) -> int:
    return len(self.rows)

  def name(self, index: int) -> str:
    """Returns for example 'verses.tsv:12', file and line of a chosen row."""
    return f"{self._path}:{self._lines[index]}"

  def column(self, name: str) -> Sequence[str]:
    """Returns a column of the chosen rows.

    Args:
      name: of the column.

    Raises:
      ValueError: the table has no such column.
    """
    self._check_column(name, "column")
    return self.rows.columns[name]

  def files(self, root: str | None, owner: str) -> Sequence[str]:
    """Returns the paths in the column `path` of the chosen rows.

    Args:
      root: folder that relative paths start from; None for the table's.
      owner: who reads the files, for errors.

    Raises:
      ValueError: the table has no such column, or the first files are not
        there. One or the other may be gone; all of them are a wrong root.
    """
    folder = (
      pathlib.Path(os.fspath(self._path)).parent if root is None else root
    )
    files = Made(Below(str(folder)), self.column("path"))
    if not any(pathlib.Path(file).is_file() for file in files[:_LOOKED_AT]):
      raise ValueError(
        f"{owner}: {self.name(0)}: no such file: {shown(files[0])}, nor those "
        "after it; set root to the folder that the paths start from"
      )
    return files

  def _choose(
    self,
    every: Rows,
    split: str | None,
    only: Choice | None,
    exclude: Choice | None,
  ) -> np.ndarray:
    """Which rows are chosen, bool [n]."""
    only = dict(only or {})
    if split is not None:
      if "split" in only:
        raise ValueError(
          f"Table: got split={split!r} and only={only}; choose the split in "
          "one of the two"
        )
      only["split"] = split
    mask = np.ones(len(every), bool)
    for word, choice in (("only", only), ("exclude", dict(exclude or {}))):
      for column, wanted in choice.items():
        argument = "split" if column == "split" and split else word
        self._check_column(column, argument)
        present = set(every.columns[column])
        values = {as_text(v) for v in _as_tuple(wanted)}
        if not values or values - present:
          raise ValueError(
            f"Table: {argument}: no row of {self._path} has "
            f"{column}={_listed(sorted(values - present))}; the column has: "
            f"{_listed(sorted(present))}"
          )
        among = (value in values for value in every.columns[column])
        mask &= np.fromiter(among, bool, len(every)) == (word == "only")
    if not mask.any():
      had = {
        column: sorted(set(every.columns[column]))
        for column in (*only, *(exclude or {}))
      }
      present_in = "; ".join(f"{c} has {_listed(v)}" for c, v in had.items())
      raise ValueError(
        f"Table: no row of {self._path} is left by only={only} and "
        f"exclude={dict(exclude or {})}; {present_in}"
      )
    return mask

  def _check_column(self, column: str, argument: str) -> None:
    if column not in self.columns:
      raise ValueError(
        f"Table: {argument}: {self._path} has no column {column!r}; it has: "
        f"{', '.join(self.columns)}"
      )

  def _sets(
    self,
    every: Rows,
    mask: np.ndarray,
    label: str,
    separator: str,
    classes: tuple[str, ...] | None,
  ) -> tuple[list[ClassSet], tuple[str, ...]]:
    """The classes of the chosen rows, numbered as all rows need."""
    owner = f"Table: {self._path}: {label!r}"
    names = class_sets.of_texts(every.columns[label], separator, owner)
    if classes is not None:
      names = list(itertools.compress(names, mask))
    found, classes = class_sets.of_rows(names, owner, classes)
    if len(found) > len(self.rows):
      found = list(itertools.compress(found, mask))
    return found, classes

  def _number(self, index: int, column: str, text: str) -> float:
    try:
      value = float(text)
    except ValueError:
      value = math.nan
    if not math.isfinite(value):
      raise ValueError(
        f"Table: {self.name(index)}: {column!r} is {text!r}, which is not a "
        "finite number; set numeric=False for classes"
      )
    return value


def _chosen(rows: Rows, mask: np.ndarray) -> Rows:
  columns = {
    name: TextColumn(itertools.compress(texts, mask))
    for name, texts in rows.columns.items()
  }
  return Rows(columns, int(mask.sum()))


def _as_tuple(value: Value | tuple[Value, ...]) -> tuple[Value, ...]:
  return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def _listed(values: list[str] | tuple[str, ...]) -> str:
  shown = ", ".join(map(repr, values[:_SHOWN]))
  more = len(values) - _SHOWN
  return shown + (f" and {more} more" if more > 0 else "")
