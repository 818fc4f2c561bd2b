"""Documents of files that a command line names."""

import argparse
from collections.abc import Iterator

from d2v_jax.data import table_files
from d2v_jax.data.text.sources import TextTable
from d2v_jax.data.text.text_files import TextFiles


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of `read` to a command line."""
  parser.add_argument(
    "files",
    nargs="+",
    metavar="FILE",
    help="plain text (a file, folder or glob, maybe .gz), or a table "
    f"({', '.join(table_files.ENDINGS)})",
  )
  parser.add_argument("--column", default="text", help="text of tables")
  parser.add_argument("--split", help="rows of tables; default all")


def read(
  paths: list[str], column: str = "text", split: str | None = None
) -> Iterator[list[str]]:
  """Returns the documents of plain text files and tables, in that order.

  Args:
    paths: files with the ending of a table are tables; others are files,
      folders or globs of plain text.
    column: of tables, the text.
    split: of tables, the rows with this `split`; None for all.

  Raises:
    ValueError: as `TextFiles` and `TextTable`; a missing file is found before
      anything is read.
  """
  sources = [
    TextTable(path, split=split, text=column)
    if path.lower().endswith(table_files.ENDINGS)
    else TextFiles(path)
    for path in paths
  ]
  return (document for source in sources for document in source.documents())
