"""Files of tables, each by its own rules, as rows of text."""

import contextlib
import csv
import io
import itertools
import json
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from etils import epath

from d2v_jax.data.columns import Rows, TextsBuilder
from d2v_jax.data.files.bounded import unpacked
from d2v_jax.data.files.unreadable import (
  Unreadable,
  check_not_special,
  shown,
)

Numbered = tuple[int, dict[str, str]]

_ZIPPED = (".csv", ".tsv", ".jsonl")
ENDINGS = (*_ZIPPED, *(f"{kind}.gz" for kind in _ZIPPED), ".parquet")

# Columns that names of files and folders stand in, which need not be UTF-8.
_NAMES = ("path", "label")
_AT_ONCE = 2**11  # rows that are objects while a file is read
_LONGEST_VALUE = 2**31 - 1


def read(
  path: epath.Path, quotes: bool = True, lists: str | None = None
) -> tuple[Rows, np.ndarray]:
  """Returns the rows of a table and their numbers.

  Args:
    path: a file with one of `ENDINGS`.
    quotes: see `tables.Table`.
    lists: the column that may hold lists of texts and whole numbers, which
      become their JSON text.

  Returns:
    The rows, '' where one does not have a column; and int64 [n], the number of
    the line where each begins, from 1, in a Parquet file of the row.

  Raises:
    ValueError: the file is not there, not a table, or has no rows.
  """
  name = path.name.lower()
  kind = name.removesuffix(".gz").rpartition(".")[2]
  if not name.endswith(ENDINGS):
    raise ValueError(f"Table: {path} must end in one of: {', '.join(ENDINGS)}")
  if not path.is_file():
    raise ValueError(f"Table: no such file: {path}")
  try:
    check_not_special(path)
  except Unreadable as error:
    raise ValueError(f"cannot read {path}: {error}") from error
  if kind == "parquet":
    rows = _parquet(path, lists)
  elif kind == "jsonl":
    rows = _jsonl(path, lists)
  else:
    lines = _csv(path) if kind == "csv" else _tsv(path, quotes)
    rows = _under_header(path, lines)
  return _collected(path, rows)


def _collected(
  path: epath.Path, rows: Iterator[Numbered]
) -> tuple[Rows, np.ndarray]:
  """Takes rows over some at a time, so that few are objects at once."""
  columns: dict[str, TextsBuilder] = {}
  numbers: list[np.ndarray] = [np.zeros(0, np.int64)]
  count = 0
  while some := list(itertools.islice(rows, _AT_ONCE)):
    for _, row in some:
      if not row.keys() <= columns.keys():
        for column in row:
          if column not in columns:
            columns[column] = TextsBuilder()
            columns[column].extend_empty(count)
    for column, texts in columns.items():
      values = [row.get(column, "") for _, row in some]
      _check_text(path, column, values, some)
      texts.extend(values)
    numbers.append(np.array([number for number, _ in some], np.int64))
    count += len(some)
  if not count:
    raise ValueError(f"Table: {path} has no rows")
  made = {column: texts.texts() for column, texts in columns.items()}
  return Rows(made, count), np.concatenate(numbers)


def numbered_lines(
  path: epath.Path, errors: str = "strict"
) -> Iterator[tuple[int, str]]:
  """Yields the lines of a UTF-8 file that are not empty, numbered from 1.

  Only a line feed ends a line, with or without a carriage return before it:
  other marks that Python knows may stand in a text.

  Args:
    path: the file; one that ends in .gz is unpacked.
    errors: what becomes of bytes that are not UTF-8.

  Raises:
    ValueError: it is not UTF-8, or not gzip's.
  """
  with _opened(path, errors, "\n") as lines:
    for number, line in enumerate(lines, 1):
      if line := line.removesuffix("\n").removesuffix("\r"):
        yield number, line


def as_text(value: Any) -> str:
  """Returns a JSON value as a table has it.

  Args:
    value: text as it is; None, and a number that is none, as nothing; a whole
      number without a fraction, so that 1 and 1.0 are the same; anything else
      as JSON.
  """
  if value is None or value != value:
    return ""
  if isinstance(value, str):
    return value
  if isinstance(value, float) and value.is_integer():
    value = int(value)
  return json.dumps(value)


@contextlib.contextmanager
def _opened(
  path: epath.Path, errors: str, newline: str
) -> Iterator[io.TextIOWrapper]:
  """A file as text, unpacked where it is packed; read as it is needed."""
  packed = path.name.lower().endswith(".gz")
  try:
    with path.open("rb") as file:
      stream = unpacked(file) if packed else file
      with io.TextIOWrapper(stream, "utf-8-sig", errors, newline) as text:
        yield text
  except (EOFError, OSError, zlib.error, UnicodeDecodeError) as error:
    raise ValueError(f"cannot read {path}: {error}") from error


def _under_header(
  path: epath.Path, lines: Iterator[tuple[int, list[str]]]
) -> Iterator[Numbered]:
  columns = next(lines, (1, [""]))[1]
  if len(set(columns)) != len(columns):
    raise ValueError(
      f"Table: {path}: the header has a column twice: {', '.join(columns)}"
    )
  for number, values in lines:
    if len(values) != len(columns):
      raise ValueError(
        f"Table: {path}:{number}: {len(values)} columns, but the header has "
        f"{len(columns)}; quote values that have what parts columns"
      )
    yield number, dict(zip(columns, values, strict=True))


def _tsv(path: epath.Path, quotes: bool) -> Iterator[tuple[int, list[str]]]:
  for number, line in numbered_lines(path, "surrogateescape"):
    if not quotes or '"' not in line:
      yield number, line.split("\t")
      continue
    try:
      rows = list(csv.reader([line], delimiter="\t", strict=True))
    except csv.Error as error:
      raise ValueError(
        f"Table: {path}:{number}: a value that begins with a quote must end "
        f"with one, on its line ({error}); write it as .csv or .jsonl, or set "
        "quotes=False if quotes are part of the values"
      ) from error
    yield number, rows[0]


def _csv(path: epath.Path) -> Iterator[tuple[int, list[str]]]:
  csv.field_size_limit(_LONGEST_VALUE)  # texts are longer than the default
  number, is_header = 1, True
  with _opened(path, "surrogateescape", "") as text:
    rows = csv.reader(text, strict=True)
    try:
      for values in rows:
        if values:
          if is_header and len(values) == 1:
            _check_comma(path, values[0])
          is_header = False
          if any(value[:1] == " " and _is_quoted(value) for value in values):
            raise csv.Error("a space in front of a quote")
          yield number, values
        number = rows.line_num + 1
    except csv.Error as error:
      raise ValueError(
        f"Table: {path}:{number}: not as .csv is written: {error}"
      ) from error


def _is_quoted(value: str) -> bool:
  inside = value.strip(" ")
  return len(inside) > 1 and inside[0] == inside[-1] == '"'


def _check_comma(path: epath.Path, header: str) -> None:
  for mark in ("\t", ";", "|"):
    if mark in header:
      raise ValueError(
        f"Table: {path}: columns of .csv are parted by commas, but the header "
        f"is {header!r}; write it with commas, or with tabs as .tsv"
      )


def _jsonl(path: epath.Path, lists: str | None) -> Iterator[Numbered]:
  for number, line in numbered_lines(path):
    try:
      values = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
      raise ValueError(f"Table: {path}:{number}: bad JSON: {error}") from error
    if not isinstance(values, dict):
      raise ValueError(
        f"Table: {path}:{number}: a line must be a JSON object, got "
        f"{type(values).__name__}"
      )
    yield number, _row(path, number, values, lists)


def _parquet(path: epath.Path, lists: str | None) -> Iterator[Numbered]:
  import pyarrow  # slow to import
  import pyarrow.parquet

  number = 0
  try:
    with pyarrow.parquet.ParquetFile(path) as file:
      for batch in file.iter_batches(_AT_ONCE):
        for values in batch.to_pylist():
          number += 1
          yield number, _row(path, number, values, lists)
  except (OSError, pyarrow.ArrowException) as error:
    raise ValueError(f"cannot read {path}: {error}") from error


def _row(
  path: epath.Path, number: int, values: dict[str, Any], lists: str | None
) -> dict[str, str]:
  for key, value in values.items():
    listed = key == lists and isinstance(value, list)
    if listed and all(isinstance(x, str | int) for x in value):
      continue
    if value is not None and not isinstance(value, (str, int, float)):
      raise ValueError(
        f"Table: {path}:{number}: {key!r} must be text, a number, a boolean "
        f"or null, got {type(value).__name__}"
      )
  return {key: as_text(value) for key, value in values.items()}


def _check_text(
  path: epath.Path, column: str, values: list[str], rows: list[Numbered]
) -> None:
  """Raises where a value is no text: half of a character, or other bytes."""
  if column in _NAMES or "".join(values).isascii():
    return
  for (number, _), value in zip(rows, values, strict=True):
    try:
      value.encode()
    except UnicodeEncodeError as error:
      raise ValueError(
        f"cannot read {path}:{number}: {column!r} is not UTF-8: "
        f"{shown(value[:80])}"
      ) from error
