"""Where the examples come from: a folder, a table or a file."""

import glob
import os
from typing import Any

import numpy as np

from d2v_jax.data import table_files
from d2v_jax.data.images.image_files import (
  ImageFiles,
  ImageFolder,
  ImageTable,
)
from d2v_jax.data.signals.arrays import SignalArrayFiles
from d2v_jax.data.signals.files import SignalFiles, SignalFolder, SignalTable
from d2v_jax.data.signals.ts_file import TsFile
from d2v_jax.data.speech.audio_files import AudioFiles
from d2v_jax.data.speech.manifest import Manifest
from d2v_jax.data.speech.sources import AudioFolder
from d2v_jax.data.text.sources import TextTable
from d2v_jax.data.text.text_files import TextFiles

TABLES = table_files.ENDINGS


def open_input(
  modality: str,
  path: str,
  *,
  split: str | None = None,
  label: str | None = None,
  label_separator: str | None = None,
  columns: tuple[str, ...] = (),
) -> Any:
  """Opens a folder, a table or a single file as a source of records.

  Args:
    modality: 'vision', 'speech', 'spectrogram', 'signal' or 'text'.
    path: what to read. A table (see `tables.Table`) has a column
      `path` (relative to the table's folder) or, of text, the text itself. Of
      signals, a .npz file holds arrays, a .ts file many signals, and others one
      signal each.
    split: of a table, the rows with this `split`; None for all.
    label: of a table, the column of the labels; None for none.
    label_separator: what parts the several classes of a row.
    columns: of a table of text, the column of the text, or the two of a pair.

  Raises:
    ValueError: there is nothing to read, or an option does not fit.
  """
  table = path.lower().endswith(TABLES)
  given = {
    "split": split,
    "label": label,
    "label_separator": label_separator,
    "column": columns,
  }
  wrong = [f"--{name}" for name, value in given.items() if value]
  if wrong and not table:
    raise ValueError(
      f"{', '.join(wrong)}: only for tables ({', '.join(TABLES)}), and "
      f"--input={path} is none; leave it out."
    )
  if len(columns) > 2:
    raise ValueError(
      f"--column: one column, or the two of a pair, got {len(columns)}."
    )
  if label_separator is not None and not label:
    raise ValueError(
      "--label_separator is of the classes in a column; give --label."
    )
  exists = os.path.exists(path) or (modality == "text" and glob.glob(path))
  if not exists:
    raise ValueError(f"--input: no such file or folder: {path}")
  folder = os.path.isdir(path)
  rows: dict[str, Any] = {
    "split": split,
    "label": label,
    "label_separator": label_separator,
  }
  if modality == "text":
    if not table:
      return TextFiles(path)
    text, *second = columns or ("text",)
    pair = second[0] if second else None
    return TextTable(path, text=text, text_b=pair, **rows)
  if modality == "signal":
    return _signals(path, rows)
  if modality in ("speech", "spectrogram"):
    if table:
      return Manifest(path, text=None, **rows)
    return AudioFolder(path) if folder else AudioFiles([path], [{}])
  if table:
    return ImageTable(path, **rows)
  return ImageFolder(path) if folder else ImageFiles([path])


def _signals(path: str, rows: dict[str, Any]) -> Any:
  if path.lower().endswith(".npz"):
    return SignalArrayFiles(path)
  if path.lower().endswith(".ts"):
    return TsFile(path)
  if path.lower().endswith(TABLES):
    return SignalTable(path, **rows)
  if os.path.isdir(path):
    return SignalFolder(path)
  return SignalFiles([path], np.zeros(1))
