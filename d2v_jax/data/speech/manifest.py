"""Recordings listed in a table, as files or as records of shards."""

import numpy as np
from array_record.python import array_record_data_source

from d2v_jax.data.speech.audio_files import (
  AudioFiles,
  Header,
  readable_header,
  resampled_lengths,
)
from d2v_jax.data.tables import Choice, Table

_DIGITS = 18  # of a number, at most


class Manifest(AudioFiles):
  """Recordings listed in a table (see `tables.Table`).

  Columns are `path`; `record`, if the path is an array_record shard, the number
  of the record in it; `num_samples` (per channel) and `rate`, without which all
  headers are read at the start; a text and a label, if there are any. A column
  of seconds is not used: rounded, it is wrong by a few samples.

  Args:
    path: the table; `d2v manifest` writes one.
    root: folder that relative paths start from; None for the table's.
    split: short for `only={"split": split}`.
    only: column -> the value, or tuple of values, that a row must have.
    exclude: column -> the value, or tuple of values, that it must not have.
    label: column of the labels; None for unlabelled.
    classes: the classes in the order of their numbers; None for the sorted
      distinct labels of the whole table.
    numeric: labels are numbers, not classes.
    label_separator: what parts several classes of a row, see `tables.Table`.
    text: column of the texts; may be missing if it is the default.
    quotes: see `tables.Table`.

  Raises:
    ValueError: what `Table` raises; a missing or wrong column; the first files
      are not there; a record that a shard does not have.
  """

  def __init__(
    self,
    path: str,
    root: str | None = None,
    *,
    split: str | None = None,
    only: Choice | None = None,
    exclude: Choice | None = None,
    label: str | None = None,
    classes: tuple[str, ...] | None = None,
    numeric: bool = False,
    label_separator: str | None = None,
    text: str | None = "text",
    quotes: bool = True,
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
      quotes=quotes,
    )
    if text == "text" and text not in table.columns:
      text = None
    if text is not None:
      table.column(text)  # raises when there is none
    files = table.files(root, "Manifest")
    super().__init__(files, table.rows, table.labels, table.class_names, text)
    counts, rates = _numbers(table, "num_samples"), _numbers(table, "rate")
    if counts is not None and rates is None:
      raise ValueError(
        f"Manifest: {path} has num_samples but no column 'rate', the samples a "
        "second that they are counted at; add it"
      )
    self._headers: tuple[np.ndarray, np.ndarray] | None = None
    if counts is not None and rates is not None:
      self._headers = counts, rates
    self._records = _numbers(table, "record")
    self._shards = {}
    if self._records is not None:
      self._shards = {file: _open_shard(file) for file in sorted(set(files))}
      for i, (file, number) in enumerate(
        zip(files, self._records, strict=True)
      ):
        if number >= len(self._shards[file]):
          raise ValueError(
            f"Manifest: {table.name(i)}: record {number}, but {file} has "
            f"{len(self._shards[file])} records; write both anew"
          )

  def read(self, index: int) -> bytes:
    """Returns the bytes of a file or record."""
    if self._records is None:
      return super().read(index)
    return self._shards[self.files[index]][int(self._records[index])]

  def record_name(self, index: int) -> str:
    """Returns the path of the file, with [number] for a record of a shard."""
    name = self.files[index]
    return name if self._records is None else f"{name}[{self._records[index]}]"

  def header(self, index: int) -> Header | None:
    """Returns samples per channel and per second; None when unreadable."""
    if self._headers is not None:
      counts, rates = self._headers
      return int(counts[index]), int(rates[index])
    if self._records is not None:
      return readable_header(self.read(index))
    return super().header(index)

  def lengths(self, sample_rate: int) -> np.ndarray:
    """Returns int64 [n], samples after resampling; 0 where unreadable."""
    if self._headers is None:
      return super().lengths(sample_rate)
    counts, rates = self._headers
    headers = zip(counts.tolist(), rates.tolist(), strict=True)
    return resampled_lengths(headers, sample_rate)


def _numbers(table: Table, column: str) -> np.ndarray | None:
  """Returns a column of integers, int64 [n]; None when there is no such."""
  if column not in table.columns:
    return None
  least = 1 if column == "rate" else 0
  texts = table.column(column)
  for i, text in enumerate(texts):
    if not (text.isdecimal() and len(text) <= _DIGITS and int(text) >= least):
      raise ValueError(
        f"Manifest: {table.name(i)}: {column!r} must be an integer >= {least}, "
        f"got {text!r}"
      )
  return np.fromiter(map(int, texts), np.int64, len(texts))


def _open_shard(path: str) -> array_record_data_source.ArrayRecordDataSource:
  try:
    return array_record_data_source.ArrayRecordDataSource([path])
  except RuntimeError as error:
    raise ValueError(
      f"Manifest: {path} is not an array_record file, but the column 'record' "
      f"says so: {error}"
    ) from error
