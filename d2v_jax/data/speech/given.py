"""Recordings given in Python."""

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from d2v_jax.data import given as given_lib
from d2v_jax.data.given import GivenRecords
from d2v_jax.data.hf.loading import is_dataset
from d2v_jax.data.hf.rows import HfRows
from d2v_jax.data.source import Record
from d2v_jax.data.speech.arrays import AudioArrays, full_scale
from d2v_jax.data.speech.audio_files import (
  Header,
  readable_header,
  resampled_lengths,
)
from d2v_jax.data.speech.hf import AudioRows


class GivenRecordings(GivenRecords):
  """Recordings of a source of the caller; all are looked at in the beginning.

  Args:
    source: records {'audio': bytes of a file, or floats or 16 bits [n] or
      [n, channels] with 'rate'; 'text' and 'label' if there are any}.
    name: of the split.

  Raises:
    ValueError: as `GivenRecords`.
  """

  def __init__(self, source: Any, name: str):
    super().__init__(source, name, "audio", _record)

  def lengths(self, sample_rate: int) -> np.ndarray:
    """Returns int64 [n], samples after resampling; 0 where unreadable."""
    return resampled_lengths(self._known[0], sample_rate)

  def texts(self) -> list[str] | None:
    """Returns the texts, '' where there is none; None when none has one."""
    texts = self._known[1]
    return texts if any(texts) else None

  @functools.cached_property
  def _known(self) -> tuple[list[Header | None], list[str]]:
    headers: list[Header | None] = []
    texts = []
    for i in range(len(self)):
      record = self[i]
      audio = record["audio"]
      if isinstance(audio, bytes):
        headers.append(readable_header(audio))
      else:
        headers.append((len(audio), record["rate"]))
      texts.append(record.get("text", ""))
    return headers, texts


def recordings(
  value: Any, name: str
) -> AudioArrays | AudioRows | GivenRecordings:
  """Returns recordings as a source.

  Args:
    value: arrays as of `AudioArrays`, by name with `rate`, `classes` and
      `numeric`; or records, see `GivenRecordings`.
    name: of the split.

  Raises:
    ValueError: it is none of these, or wrong in itself.
  """
  if is_dataset(value):
    return AudioRows(HfRows(value, name))
  if isinstance(value, Mapping) and "rate" in value:
    arrays, options = given_lib.arrays_and_options(value, AudioArrays)
    return AudioArrays(arrays, name, **options)
  if isinstance(value, Mapping) or given_lib.is_arrays(value):
    raise ValueError(
      f"data: {name!r} has no rate; give recordings as {{'audio': ..., 'rate': "
      "16000}, with the samples per second that they have"
    )
  return GivenRecordings(value, name)


def _record(record: Record) -> Record:
  made: Record = {"audio": record["audio"]}
  if not isinstance(made["audio"], bytes):
    made["audio"] = full_scale(np.asarray(made["audio"]))
    if "rate" not in record:
      raise ValueError(
        "data: a record has samples without 'rate', samples per second; add it"
      )
    made["rate"] = int(record["rate"])
  if record.get("text"):
    made["text"] = str(record["text"])
  if "label" in record:
    made["label"] = np.asarray(record["label"]).item()
  return made
