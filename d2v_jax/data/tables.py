"""Tables of records: TSV and JSON lines files, rows chosen by column."""

import gzip
import json
import math
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

from etils import epath

Value = str | int | float
Choice = Mapping[str, Value | tuple[Value, ...]]

_SHOWN = 20  # values that an error lists


class Table:
  """The chosen rows of a table, with their labels.

  A `.tsv` file has a header line and one row a line, columns separated by tabs
  and never quoted; a `.jsonl` file has one object a line, whose numbers and
  booleans become their JSON text, and null or absent the empty string. Both are
  UTF-8 and may be compressed (`.tsv.gz`, `.jsonl.gz`); empty lines are skipped.

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

  Attributes:
    columns: names of the columns.
    rows: the chosen rows, column -> text.
    labels: int class numbers, or floats if `numeric`; None if unlabelled.
    class_names: the classes; empty if unlabelled or `numeric`.

  Raises:
    ValueError: no such file, a broken line, a column or value that the table
      does not have, no row left, or a label that is none.
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
  ):
    self._path = epath.Path(path)
    if label is None and (classes is not None or numeric):
      raise ValueError(
        f"Table: got classes={classes} and numeric={numeric} but no label "
        "column; set label"
      )
    if classes is not None and numeric:
      raise ValueError("Table: give classes or numeric=True, not both")
    numbered = _read(self._path)
    self.columns = tuple(dict.fromkeys(c for _, row in numbered for c in row))
    for _, row in numbered:
      for column in self.columns:
        row.setdefault(column, "")
    everything = [row for _, row in numbered]
    chosen = self._choose(numbered, split, only, exclude)
    self._lines = [line for line, _ in chosen]
    self.rows: list[dict[str, str]] = [row for _, row in chosen]
    self.class_names: tuple[str, ...] = ()
    self.labels: list[int] | list[float] | None = None
    if label is None:
      return
    self._check_column(label, "label")
    if numeric:
      self.labels = [self._number(i, label) for i in range(len(self.rows))]
      return
    if classes is None:
      classes = tuple(sorted({row[label] for row in everything} - {""}))
    self.class_names = tuple(classes)
    if len(set(self.class_names)) != len(self.class_names):
      raise ValueError(f"Table: classes has a class twice: {classes}")
    number = {name: k for k, name in enumerate(self.class_names)}
    for i, row in enumerate(self.rows):
      if row[label] not in number:
        raise ValueError(
          f"Table: {self.name(i)}: {label!r} is {row[label]!r}, which is not "
          f"among the classes {_listed(self.class_names)}"
        )
    self.labels = [number[row[label]] for row in self.rows]

  def __len__(self) -> int:
    return len(self.rows)

  def name(self, index: int) -> str:
    """Returns for example 'verses.tsv:12', file and line of a chosen row."""
    return f"{self._path}:{self._lines[index]}"

  def column(self, name: str) -> list[str]:
    """Returns a column of the chosen rows.

    Args:
      name: of the column.

    Raises:
      ValueError: the table has no such column.
    """
    self._check_column(name, "column")
    return [row[name] for row in self.rows]

  def _choose(
    self,
    numbered: list[tuple[int, dict[str, str]]],
    split: str | None,
    only: Choice | None,
    exclude: Choice | None,
  ) -> list[tuple[int, dict[str, str]]]:
    only = dict(only or {})
    if split is not None:
      if "split" in only:
        raise ValueError(
          f"Table: got split={split!r} and only={only}; choose the split in "
          "one of the two"
        )
      only["split"] = split
    chosen = numbered
    for word, choice in (("only", only), ("exclude", dict(exclude or {}))):
      for column, wanted in choice.items():
        argument = "split" if column == "split" and split else word
        self._check_column(column, argument)
        present = {row[column] for _, row in numbered}
        values = {str(v) for v in _as_tuple(wanted)}
        if not values or values - present:
          raise ValueError(
            f"Table: {argument}: no row of {self._path} has "
            f"{column}={_listed(sorted(values - present))}; the column has: "
            f"{_listed(sorted(present))}"
          )
        keep = word == "only"
        chosen = [(n, r) for n, r in chosen if (r[column] in values) == keep]
    if not chosen:
      had = {
        column: sorted({row[column] for _, row in numbered})
        for column in (*only, *(exclude or {}))
      }
      present_in = "; ".join(f"{c} has {_listed(v)}" for c, v in had.items())
      raise ValueError(
        f"Table: no row of {self._path} is left by only={only} and "
        f"exclude={dict(exclude or {})}; {present_in}"
      )
    return chosen

  def _check_column(self, column: str, argument: str) -> None:
    if column not in self.columns:
      raise ValueError(
        f"Table: {argument}: {self._path} has no column {column!r}; it has: "
        f"{', '.join(self.columns)}"
      )

  def _number(self, index: int, column: str) -> float:
    text = self.rows[index][column]
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


def _read(path: epath.Path) -> list[tuple[int, dict[str, str]]]:
  """Returns the rows with their line numbers, which count from 1."""
  kind = path.name.removesuffix(".gz").rpartition(".")[2]
  readers = {"tsv": _read_tsv, "jsonl": _read_jsonl}
  if kind not in readers:
    raise ValueError(
      f"Table: {path} must end in .tsv, .jsonl, .tsv.gz or .jsonl.gz"
    )
  if not path.is_file():
    raise ValueError(f"Table: no such file: {path}")
  rows = list(readers[kind](path, numbered_lines(path)))
  if not rows:
    raise ValueError(f"Table: {path} has no rows")
  return rows


def numbered_lines(path: epath.Path) -> Iterator[tuple[int, str]]:
  """Yields the lines of a UTF-8 file that are not empty, numbered from 1.

  Only a line feed ends a line, with or without a carriage return before it:
  other marks that Python knows may stand in a text.

  Args:
    path: the file; one that ends in .gz is unpacked.

  Raises:
    ValueError: it is not UTF-8, or not gzip's.
  """
  data = path.read_bytes()
  try:
    if path.name.endswith(".gz"):
      data = gzip.decompress(data)
    text = data.decode("utf-8-sig")
  except (EOFError, gzip.BadGzipFile, zlib.error, UnicodeDecodeError) as error:
    raise ValueError(f"cannot read {path}: {error}") from error
  for number, line in enumerate(text.split("\n"), 1):
    if line := line.removesuffix("\r"):
      yield number, line


def _read_tsv(
  path: epath.Path, lines: Iterator[tuple[int, str]]
) -> Iterator[tuple[int, dict[str, str]]]:
  columns = next(lines, (1, ""))[1].split("\t")
  if len(set(columns)) != len(columns):
    raise ValueError(
      f"Table: {path}: the header has a column twice: {', '.join(columns)}"
    )
  for number, line in lines:
    values = line.split("\t")
    if len(values) != len(columns):
      raise ValueError(
        f"Table: {path}:{number}: {len(values)} columns, but the header has "
        f"{len(columns)}; write tabs and line breaks in a text as spaces"
      )
    yield number, dict(zip(columns, values, strict=True))


def _read_jsonl(
  path: epath.Path, lines: Iterator[tuple[int, str]]
) -> Iterator[tuple[int, dict[str, str]]]:
  for number, line in lines:
    try:
      values = json.loads(line)
    except json.JSONDecodeError as error:
      raise ValueError(f"Table: {path}:{number}: bad JSON: {error}") from error
    if not isinstance(values, dict):
      raise ValueError(
        f"Table: {path}:{number}: a line must be a JSON object, got "
        f"{type(values).__name__}"
      )
    for key, value in values.items():
      if isinstance(value, (list, dict)):
        raise ValueError(
          f"Table: {path}:{number}: {key!r} must be text, a number, a boolean "
          f"or null, got {type(value).__name__}"
        )
    yield number, {key: _as_text(value) for key, value in values.items()}


def _as_text(value: Any) -> str:
  if value is None:
    return ""
  return value if isinstance(value, str) else json.dumps(value)


def _as_tuple(value: Value | tuple[Value, ...]) -> tuple[Value, ...]:
  return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def _listed(values: list[str] | tuple[str, ...]) -> str:
  shown = ", ".join(map(repr, values[:_SHOWN]))
  more = len(values) - _SHOWN
  return shown + (f" and {more} more" if more > 0 else "")
