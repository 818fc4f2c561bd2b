"""Plain text files as records and as documents."""

import functools
import glob
import gzip
import os
import pathlib
import zlib
from collections.abc import Iterator


class TextFiles:
  """Plain text, UTF-8: a record for each line that is not empty.

  Empty lines and the borders of files separate documents. `documents` reads
  file by file; the records are read as a whole when the first is asked for.

  Args:
    path: a file; a folder, of which all .txt and .txt.gz files at any depth are
      taken; or a glob such as 'wiki/*/wiki_*'. Files ending in .gz are
      decompressed. Links are followed; order is sorted.

  Raises:
    ValueError: no such files, or, when they are read, not UTF-8 or a damaged
      .gz.
  """

  class_names: tuple[str, ...] = ()

  def __init__(self, path: str | os.PathLike[str]):
    root = pathlib.Path(path)
    if root.is_dir():
      self._files = sorted(_text_files(root))
    else:
      files = [str(root)] if root.is_file() else glob.glob(str(path))
      self._files = sorted(f for f in files if os.path.isfile(f))
    if not self._files:
      raise ValueError(
        f"TextFiles: no text in {str(path)!r}; it must be a file, a folder "
        "with .txt or .txt.gz files, or a glob that matches files"
      )

  def __len__(self) -> int:
    return len(self._records)

  def __getitem__(self, index: int) -> dict[str, str]:
    return {"text": self._records[index][2]}

  def record_name(self, index: int) -> str:
    """Returns for example 'books/a.txt:12', counting lines from 1."""
    file, line, _ = self._records[index]
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
  def _records(self) -> list[tuple[int, int, str]]:
    return [
      (k, number, line)
      for k, file in enumerate(self._files)
      for number, line in enumerate(_lines(file), 1)
      if line
    ]


def _text_files(root: pathlib.Path) -> Iterator[str]:
  for folder, _, names in os.walk(root, followlinks=True):
    for name in names:
      if name.endswith((".txt", ".txt.gz")) and not name.startswith("."):
        yield str(pathlib.Path(folder) / name)


def _lines(file: str) -> Iterator[str]:
  """Yields all lines, stripped; only a line break ends one."""
  opened = gzip.open if file.endswith(".gz") else open
  try:
    with opened(file, "rt", encoding="utf-8-sig") as stream:
      for line in stream:
        yield line.strip()
  except (EOFError, gzip.BadGzipFile, zlib.error, UnicodeDecodeError) as error:
    raise ValueError(f"TextFiles: cannot read {file}: {error}") from error
