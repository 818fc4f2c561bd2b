"""Recordings in Parquet and Arrow files and in Hugging Face datasets."""

import concurrent.futures
import logging

import numpy as np

from d2v_jax.data.files.unreadable import Unreadable
from d2v_jax.data.hf.columns import FileColumn
from d2v_jax.data.hf.loading import load
from d2v_jax.data.hf.rows import HfRows
from d2v_jax.data.source import Record
from d2v_jax.data.speech import decoding
from d2v_jax.data.speech.arrays import full_scale
from d2v_jax.data.speech.audio_files import Header, resampled_lengths

_SCAN_THREADS = 32  # more than cores: a scan waits for the disk


class AudioRows:
  """Recordings of a dataset, each read when it is asked for.

  Args:
    rows: the dataset.
    rate: samples per second of arrays; files say theirs.
    audio: column of the recordings, of the type Audio, bytes of files, or lists
      of floats or 16 bits; None for the only one of the type Audio, or `audio`.
    label: column of the labels, of the type ClassLabel, whole numbers or texts;
      may be missing if it is the default; None for none.
    classes: see `labelled`; None for those of ClassLabel, if it is one.
    numeric: labels are numbers, not classes.
    text: column of the texts; may be missing if it is the default; None for
      none.

  Raises:
    ValueError: no such column, or another type; a label is missing; `rate` does
      not fit.
  """

  def __init__(
    self,
    rows: HfRows,
    *,
    rate: int | None = None,
    audio: str | None = None,
    label: str | None = "label",
    classes: tuple[str, ...] | None = None,
    numeric: bool = False,
    text: str | None = "text",
  ):
    self._rows, self._rate = rows, rate
    self._audio = rows.column_of("Audio", audio, "audio")
    if isinstance(self._audio, FileColumn) != (rate is None):
      raise ValueError(
        f"AudioRows: {rows.name} has files, which say their rate; leave it out"
        if rate is not None
        else f"AudioRows: {rows.name} has samples; set rate, samples per second"
      )
    self.labels, self.class_names = rows.labels(label, classes, numeric)
    self._texts: list[str] | None = None
    if text is not None and (text != "text" or text in rows.features):
      self._texts = list(rows.texts(text, "text"))

  def __len__(self) -> int:
    return len(self._rows)

  def __getitem__(self, index: int) -> Record:
    audio = self._audio[index]
    record: Record = {"audio": audio}
    if isinstance(audio, np.ndarray):
      record = {"audio": full_scale(audio), "rate": self._rate}
    if self._texts is not None and self._texts[index]:
      record["text"] = self._texts[index]
    if self.labels is not None:
      record["label"] = self.labels[index]
    return record

  def record_name(self, index: int) -> str:
    """Returns for example 'minds14/train[3]'."""
    return self._rows.row_name(index)

  def lengths(self, sample_rate: int) -> np.ndarray:
    """Returns int64 [n], samples after resampling; 0 where unreadable."""
    logging.info("reading the headers of %d recordings", len(self))
    with concurrent.futures.ThreadPoolExecutor(_SCAN_THREADS) as pool:
      headers = list(pool.map(self._header, range(len(self))))
    return resampled_lengths(headers, sample_rate)

  def texts(self) -> list[str] | None:
    """Returns the texts, '' where there is none; None when none has one."""
    return self._texts

  def _header(self, index: int) -> Header | None:
    try:
      if isinstance(self._audio, FileColumn):
        return decoding.header(self._audio.opened(index))
      assert self._rate is not None
      return len(self._audio[index]), self._rate
    except Unreadable:
      return None


class HfAudio(AudioRows):
  """The same, of a path or a name.

  Args:
    path: see `loading.load`, as the next ones.
    split: such as 'train'.
    subset: configuration of the dataset.
    revision: commit or tag on the hub.
    streaming: must be False.
    rate: see `AudioRows`, as the next ones.
    audio: column of the recordings.
    label: column of the labels.
    classes: their names.
    numeric: whether they are numbers.
    text: column of the texts.

  Raises:
    ValueError: as `loading.load` and `AudioRows`.
  """

  def __init__(
    self,
    path: str,
    split: str | None = None,
    *,
    subset: str | None = None,
    revision: str | None = None,
    streaming: bool = False,
    rate: int | None = None,
    audio: str | None = None,
    label: str | None = "label",
    classes: tuple[str, ...] | None = None,
    numeric: bool = False,
    text: str | None = "text",
  ):
    super().__init__(
      load(path, split, subset, revision, streaming),
      rate=rate,
      audio=audio,
      label=label,
      classes=classes,
      numeric=numeric,
      text=text,
    )
