"""The bundled recordings of Mandarin syllables."""

import functools
import pathlib
import threading

import numpy as np

from d2v_jax.data.source import Record
from d2v_jax.data.speech import decoding
from d2v_jax.data.speech.audio_files import resampled_lengths
from d2v_jax.data.tables import Table

_TABLE = (
  pathlib.Path(__file__).parents[1] / "embedded/speech_mandarin_tones500.tsv"
)
_LOCK = threading.Lock()


class Tones:
  """The bundled recordings: 500 Mandarin syllables of one voice, four tones.

  Args:
    split: 'train' (390 records) or 'test' (110); no syllable is in both.

  Raises:
    ValueError: unknown split.
  """

  def __init__(self, split: str = "train"):
    if split not in ("train", "test"):
      raise ValueError(
        f"Tones: unknown split {split!r}; choose one of: test, train"
      )
    table = Table(_TABLE, split=split, label="tone")
    self._bounds = [(int(r["start"]), int(r["end"])) for r in table.rows]
    self.labels = table.labels or []
    self._split = split
    self.class_names = table.class_names

  def __len__(self) -> int:
    return len(self._bounds)

  def __getitem__(self, index: int) -> Record:
    start, end = self._bounds[index]
    samples = _tones_audio()[start:end]
    label = self.labels[index]
    return {"audio": samples, "rate": decoding.SAMPLE_RATE, "label": label}

  def record_name(self, index: int) -> str:
    """Returns for example 'tones/train[3]'."""
    return f"tones/{self._split}[{index}]"

  def lengths(self, sample_rate: int) -> np.ndarray:
    """Returns int64 [n], samples after resampling."""
    headers = [
      (end - start, decoding.SAMPLE_RATE) for start, end in self._bounds
    ]
    return resampled_lengths(headers, sample_rate)

  def texts(self) -> None:
    """Returns None: there are no texts."""


def _tones_audio() -> np.ndarray:
  """Returns the one file, decoded once in a process."""
  with _LOCK:
    return _decoded_tones()


@functools.cache
def _decoded_tones() -> np.ndarray:
  samples = decoding.decode(_TABLE.with_suffix(".ogg").read_bytes())
  samples.setflags(write=False)
  return samples
