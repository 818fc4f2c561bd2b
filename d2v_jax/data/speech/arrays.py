"""Recordings in arrays."""

import numpy as np

from d2v_jax.data import arrays as arrays_lib
from d2v_jax.data.array_files import ArrayFiles
from d2v_jax.data.arrays import Arrays
from d2v_jax.data.recordings.arrays import RecordingArrays
from d2v_jax.data.source import Record
from d2v_jax.data.speech.audio_files import resampled_lengths

_FULL_SCALE = 2.0**15  # of 16 bits
_OWNER = "AudioArrays"


class AudioArrays(RecordingArrays):
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

  owner = _OWNER
  argument = "audio"
  axes = 1

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
    texts = arrays_lib.taken(arrays, text, "text", "text", _OWNER)
    super().__init__(
      arrays,
      name,
      audio,
      length=length,
      label=label,
      classes=classes,
      numeric=numeric,
      others={str(text): texts},
    )
    self._rate = rate
    self._texts: list[str] | None = None
    if texts is not None:
      self._texts = arrays_lib.texts_of(texts, str(text), _OWNER)

  def __getitem__(self, index: int) -> Record:
    samples = full_scale(self.samples(index))
    record: Record = {"audio": samples, "rate": self._rate}
    if self._texts is not None and self._texts[index]:
      record["text"] = self._texts[index]
    if self.labels is not None:
      record["label"] = self.labels[index]
    return record

  def check(self, array: np.ndarray, name: str, axes: tuple[int, ...]) -> None:
    """See `RecordingArrays.check`."""
    if array.dtype.kind != "f" and array.dtype != np.int16:
      raise ValueError(
        f"{_OWNER}: {name!r} has the type {array.dtype}; it must be floats of "
        "full scale -1 to 1, or int16"
      )
    if array.ndim not in axes:
      raise ValueError(
        f"{_OWNER}: {name!r} has the shape {list(array.shape)}; recordings "
        "have one channel: [n, samples], a list of [samples], or [total] with "
        "lengths"
      )

  def lengths(self, sample_rate: int) -> np.ndarray:
    """Returns int64 [n], samples after resampling."""
    headers = ((count, self._rate) for count in self.sizes.tolist())
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
