"""Audio files and their headers: what several sources have in common."""

import concurrent.futures
import logging
from collections.abc import Iterable, Sequence

import numpy as np

from d2v_jax.data.files.unreadable import Unreadable, read_bytes
from d2v_jax.data.label_values import LabelValues
from d2v_jax.data.source import Record
from d2v_jax.data.speech import decoding

Header = tuple[int, int]  # samples per channel, samples per second

_SCAN_THREADS = 32  # more than cores: a scan waits for the disk


class AudioFiles:
  """Audio files, read when asked for; a source by itself, or a base of one.

  Attributes:
    files: paths, or for records of array_record shards the shards' paths.
    rows: what is known of each file, column -> text.
    labels: class number or score of each file; None when unlabelled.
    class_names: the classes, empty when unlabelled or labelled by numbers.
  """

  def __init__(
    self,
    files: Sequence[str],
    rows: Sequence[dict[str, str]],
    labels: LabelValues | None = None,
    class_names: tuple[str, ...] = (),
    text: str | None = None,
  ):
    self.files = files
    self.rows = rows
    self.class_names = class_names
    self.labels = labels
    self._text = text

  def __len__(self) -> int:
    return len(self.files)

  def __getitem__(self, index: int) -> Record:
    record: Record = {"audio": self.read(index)}
    if self._text is not None and self.rows[index][self._text]:
      record["text"] = self.rows[index][self._text]
    if self.labels is not None:
      record["label"] = self.labels[index]
    return record

  def read(self, index: int) -> bytes:
    """Returns the bytes of a file.

    Raises:
      Unreadable: there is none.
    """
    return read_bytes(self.files[index])

  def record_name(self, index: int) -> str:
    """Returns the path of the file."""
    return self.files[index]

  def texts(self) -> list[str] | None:
    """Returns the texts, '' where there is none; None when none has one."""
    if self._text is None:
      return None
    return [row[self._text] for row in self.rows]

  def header(self, index: int) -> Header | None:
    """Returns samples per channel and per second; None when unreadable."""
    return readable_header(self.files[index])

  def measured(self, index: int) -> Header | Unreadable:
    """Returns the header of a file that is decoded, or why it is of no use."""
    try:
      return decoding.measured(self.read(index))
    except Unreadable as error:
      return error

  def headers(self) -> list[Header | None]:
    """Returns `header` of each file, scanned by many threads."""
    with concurrent.futures.ThreadPoolExecutor(_SCAN_THREADS) as pool:
      return list(pool.map(self.header, range(len(self))))

  def lengths(self, sample_rate: int) -> np.ndarray:
    """Returns int64 [n], samples after resampling; 0 where unreadable."""
    logging.info(
      "reading the headers of %d files from %s on; d2v "
      "manifest writes them down once for all runs",
      len(self),
      self.record_name(0),
    )
    return resampled_lengths(self.headers(), sample_rate)


def readable_header(source: bytes | str) -> Header | None:
  """Returns samples per channel and per second; None when unreadable.

  Args:
    source: bytes of a file, or its path.
  """
  try:
    return decoding.header(source)
  except Unreadable:
    return None


def resampled_lengths(
  headers: Iterable[Header | None], sample_rate: int
) -> np.ndarray:
  """Returns int64 [n], samples after resampling; 0 where unreadable."""
  lengths = [
    0 if header is None else decoding.resampled_length(*header, sample_rate)
    for header in headers
  ]
  return np.array(lengths, np.int64)
