"""Plain text files as records and as documents."""

import array
import functools
import glob
import io
import logging
import os
import zlib
from collections.abc import Iterator

import numpy as np

from d2v_jax.data.columns import TextColumn
from d2v_jax.data.files.bounded import unpacked
from d2v_jax.data.files.unreadable import Unreadable, check_opens, shown
from d2v_jax.data.files.walk import SAME_FILE, Listing, summary, walk
from d2v_jax.data.table_files import ENDINGS as TABLES

# Tables, and other text that is no prose.
_NOT_PROSE = (*TABLES, ".json", ".json.gz", ".ndjson", ".ipynb")
EXTENSIONS = (
  *(".md", ".text", ".txt"),
  *(".md.gz", ".text.gz", ".txt.gz"),
)


class TextFiles:
  """Plain text, UTF-8: a record for each line that is not empty.

  Empty lines and the borders of files separate documents. `documents` reads
  file by file; the records are read as a whole when the first is asked for.

  Args:
    path: a file; a folder, of which all .txt, .text and .md files at any depth
      are taken, with or without .gz, as `walk` lists them; or a glob such as
      'wiki/*/wiki_*', which may match files of any ending but a table's. Files
      ending in .gz are decompressed. Order is sorted.

  Attributes:
    listing: of a folder, what is read, and what is left out.
    unreadable: path of a file that cannot be opened -> why that is.

  Raises:
    ValueError: no such files, or a table; or, when they are read, not UTF-8, no
      text, or a damaged .gz.
  """

  class_names: tuple[str, ...] = ()

  def __init__(self, path: str | os.PathLike[str]):
    self.listing: Listing | None = None
    if os.path.isdir(path):
      self.listing = walk(path, EXTENSIONS, "TextFiles")
      found = [self.listing.path(file) for file in self.listing.files]
      self.listing.log("TextFiles")
    elif os.path.exists(path):
      found = [os.fspath(path)]
    else:
      found = sorted(f for f in glob.glob(os.fspath(path), recursive=True))
      found = [f for f in found if not os.path.isdir(f)]
    self._files, self.unreadable = _readable(found)
    if not self._files:
      more = self.listing.summary() if self.listing is not None else ""
      raise ValueError(
        f"TextFiles: no text in {os.fspath(path)!r}; it must be a file, a "
        f"folder with files that end in {', '.join(EXTENSIONS)}, or a glob "
        f"that matches files. {more}".strip()
      )

  def __len__(self) -> int:
    return len(self._records[1])

  def __getitem__(self, index: int) -> dict[str, str]:
    return {"text": self._records[1][index]}

  def record_name(self, index: int) -> str:
    """Returns for example 'books/a.txt:12', counting lines from 1."""
    file, line = self._records[0][index].tolist()
    return f"{self._files[file]}:{line}"

  def documents(self) -> Iterator[list[str]]:
    """Yields the lines of each document."""
    for file in self._files:
      document = []
      for line in _lines(file):
        if line:
          document.append(line)
        elif document:
          yield document
          document = []
      if document:
        yield document

  @functools.cached_property
  def _records(self) -> tuple[np.ndarray, TextColumn]:
    """Number of the file and of the line of each, [n, 2], and the texts."""
    places = array.array("Q")

    def texts() -> Iterator[str]:
      for k, file in enumerate(self._files):
        for number, line in enumerate(_lines(file), 1):
          if line:
            places.extend((k, number))
            yield line

    column = TextColumn(texts())
    return np.asarray(places).reshape(-1, 2), column


def _readable(files: list[str]) -> tuple[list[str], dict[str, str]]:
  """Returns the files that can be opened, each once, and why others cannot."""
  kept: dict[tuple[int, int], str] = {}
  left_out: dict[str, list[str]] = {}
  unreadable: dict[str, str] = {}
  for file in files:
    if file.lower().endswith(_NOT_PROSE):
      raise ValueError(
        f"TextFiles: {shown(file)} is no prose but a table or JSON; read a "
        f"table ({', '.join(TABLES)}) by the source 'table', whose argument "
        "text names the column"
      )
    try:
      check_opens(file)
    except Unreadable as error:
      unreadable[file] = str(error)
      left_out.setdefault(str(error), []).append(file)
      continue
    status = os.stat(file)
    if kept.setdefault((status.st_dev, status.st_ino), file) != file:
      left_out.setdefault(SAME_FILE, []).append(file)
  if left_out:
    logging.warning("TextFiles: %s", summary(left_out, len(kept)))
  return sorted(kept.values()), unreadable


def _lines(file: str) -> Iterator[str]:
  """Yields all lines, stripped; only a line break ends one."""
  packed = file.lower().endswith(".gz")
  try:
    with (
      open(file, "rb") as raw,
      io.TextIOWrapper(unpacked(raw) if packed else raw, "utf-8-sig") as stream,
    ):
      for line in stream:
        if "\0" in line:
          raise ValueError("it has zero bytes, so that it is no UTF-8 text")
        yield line.strip()
  except (OSError, EOFError, zlib.error, ValueError) as error:
    raise ValueError(
      f"TextFiles: cannot read {shown(file)}: {error}"
    ) from error
