"""Recordings in arrays."""

from typing import Any

import numpy as np

from d2v_jax.data import arrays as arrays_lib
from d2v_jax.data.array_files import ArrayFiles
from d2v_jax.data.arrays import Arrays
from d2v_jax.data.label_values import labelled
from d2v_jax.data.source import Record
from d2v_jax.data.speech.audio_files import resampled_lengths

_FULL_SCALE = 2.0**15  # of 16 bits
_OWNER = "AudioArrays"


class AudioArrays:
  """Recordings in arrays, each read when it is asked for.

  Args:
    arrays: name -> array: recordings [n, samples], a list of [samples], or all
      of them one after the other, [total], whose `length` says where each ends;
      floats of full scale -1 to 1, or integers of 16 bits; labels [n], whole
      numbers or texts; texts [n].
    name: of all of them, for names of records.
    rate: samples per second.
    audio: name of the recordings.
    length: name of the lengths, int [n], in samples; rows are filled up behind
      them. May be missing if it is the default, then rows are used whole.
    label: name of the labels; may be missing if it is the default; None for
      none.
    classes: see `labelled`.
    numeric: labels are numbers, not classes.
    text: name of the texts; may be missing if it is the default; None for none.

  Raises:
    ValueError: no such array, another shape or type, wrong lengths or labels.
  """

  def __init__(
    self,
    arrays: Arrays,
    name: str,
    *,
    rate: int,
    audio: str = "audio",
    length: str | None = "length",
    label: str | None = "label",
    classes: tuple[str, ...] | None = None,
    numeric: bool = False,
    text: str | None = "text",
  ):
    if rate < 1:
      raise ValueError(f"{_OWNER}: rate must be above 0, got {rate}")
    recordings = arrays_lib.required(arrays, audio, "audio", _OWNER)
    lengths = arrays_lib.taken(arrays, length, "length", "length", _OWNER)
    labels = arrays_lib.taken(arrays, label, "label", "label", _OWNER)
    texts = arrays_lib.taken(arrays, text, "text", "text", _OWNER)
    self._arrays, self._audio = arrays, audio
    self._name, self._rate = name, rate
    self._lengths, self._starts = _bounds(recordings, lengths, audio)
    found = {audio: self._lengths, str(label): labels, str(text): texts}
    arrays_lib.check_equally_long(found, _OWNER)
    self.class_names: tuple[str, ...] = ()
    self.labels: list[int] | list[float] | None = None
    if labels is not None:
      self.labels, self.class_names = labelled(
        labels, f"{_OWNER}: {label!r}", classes=classes, numeric=numeric
      )
    self._texts: list[str] | None = None
    if texts is not None:
      self._texts = arrays_lib.texts_of(texts, str(text), _OWNER)

  def __len__(self) -> int:
    return len(self._lengths)

  def __getitem__(self, index: int) -> Record:
    length = int(self._lengths[index])
    recordings = self._arrays[self._audio]
    if self._starts is None:
      samples = np.asarray(recordings[index])[:length]
    else:
      start = int(self._starts[index])
      samples = np.asarray(recordings[start : start + length])
    record: Record = {"audio": full_scale(samples), "rate": self._rate}
    if self._texts is not None and self._texts[index]:
      record["text"] = self._texts[index]
    if self.labels is not None:
      record["label"] = self.labels[index]
    return record

  def record_name(self, index: int) -> str:
    """Returns for example 'words.npz[3]'."""
    return f"{self._name}[{index}]"

  def lengths(self, sample_rate: int) -> np.ndarray:
    """Returns int64 [n], samples after resampling."""
    headers = ((count, self._rate) for count in self._lengths.tolist())
    return resampled_lengths(headers, sample_rate)

  def texts(self) -> list[str] | None:
    """Returns the texts, '' where there is none; None when none has one."""
    return self._texts


class AudioArrayFiles(AudioArrays):
  """Recordings in .npy or .npz files, which stay there.

  Args:
    path: see `ArrayFiles`.
    rate: see `AudioArrays`, as the others.
    audio: name of the recordings.
    length: name of their lengths.
    label: name of the labels.
    classes: their names.
    numeric: whether they are numbers.
    text: name of the texts.

  Raises:
    ValueError: as `ArrayFiles` and `AudioArrays`.
  """

  def __init__(
    self,
    path: str,
    rate: int,
    audio: str = "audio",
    length: str | None = "length",
    label: str | None = "label",
    classes: tuple[str, ...] | None = None,
    numeric: bool = False,
    text: str | None = "text",
  ):
    super().__init__(
      ArrayFiles(path, audio, _OWNER),
      path,
      rate=rate,
      audio=audio,
      length=length,
      label=label,
      classes=classes,
      numeric=numeric,
      text=text,
    )


def full_scale(samples: np.ndarray) -> np.ndarray:
  """Returns floats of full scale -1 to 1.

  Args:
    samples: such floats, or integers of 16 bits.
  """
  if samples.dtype == np.int16:
    return samples / np.float32(_FULL_SCALE)
  return samples


def _bounds(
  recordings: Any, lengths: Any, name: str
) -> tuple[np.ndarray, np.ndarray | None]:
  """Length of each recording, int64 [n], and where it starts in one row."""
  whole = isinstance(recordings, np.ndarray) and recordings.dtype != object
  for row in [recordings] if whole else recordings:
    _check(np.asarray(row), name, (1, 2) if whole else (1,))
  if lengths is not None:
    lengths = np.asarray(lengths)
    if lengths.ndim != 1 or lengths.dtype.kind not in "iu" or any(lengths < 0):
      raise ValueError(
        f"{_OWNER}: lengths must be whole numbers [n], got {lengths.dtype} "
        f"{list(lengths.shape)}"
      )
    lengths = lengths.astype(np.int64)
  if whole and recordings.ndim == 1:
    if lengths is None or lengths.sum() != len(recordings):
      said = "no lengths" if lengths is None else f"lengths of {lengths.sum()}"
      raise ValueError(
        f"{_OWNER}: {name!r} is one row of {len(recordings)} samples, with "
        f"{said}; give an array `length` that says how many of them each "
        "recording has, or recordings [n, samples]"
      )
    return lengths, np.cumsum(lengths) - lengths
  there = (
    np.full(len(recordings), recordings.shape[1])
    if whole
    else np.array([len(row) for row in recordings], np.int64)
  )
  if lengths is None:
    return there.astype(np.int64), None
  arrays_lib.check_equally_long({name: there, "length": lengths}, _OWNER)
  if (lengths > there).any():
    first = int(np.argmax(lengths > there))
    raise ValueError(
      f"{_OWNER}: recording {first} has the length {lengths[first]}, but "
      f"{there[first]} samples"
    )
  return lengths, None


def _check(array: np.ndarray, name: str, dimensions: tuple[int, ...]) -> None:
  if array.dtype.kind != "f" and array.dtype != np.int16:
    raise ValueError(
      f"{_OWNER}: {name!r} has the type {array.dtype}; it must be floats of "
      "full scale -1 to 1, or int16"
    )
  if array.ndim not in dimensions:
    raise ValueError(
      f"{_OWNER}: {name!r} has the shape {list(array.shape)}; recordings have "
      "one channel: [n, samples], a list of [samples], or [total] with lengths"
    )
