"""Recordings in arrays: what those of speech and signals have in common."""

import abc
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from d2v_jax.data import arrays as arrays_lib
from d2v_jax.data.arrays import Arrays
from d2v_jax.data.label_values import LabelValues, labelled


class RecordingArrays(abc.ABC):
  """Recordings in arrays, each read when it is asked for.

  Args:
    arrays: name -> array: recordings of one length in one array, a list of
      recordings, or all of them one after the other in one, whose lengths say
      where each ends; labels [n], whole numbers or texts.
    name: of all of them, for names of records.
    recordings: name of the recordings.
    length: name of the lengths, int [n], in samples; of recordings of one
      length they say what is no filling. May be missing if it is 'length', then
      recordings are used whole.
    label: name of the labels; may be missing if it is 'label'; None for none.
    classes: see `labelled`.
    numeric: labels are numbers, not classes.
    others: name -> what else has a row for each recording.

  Attributes:
    sizes: int64 [n], samples of each recording.
    labels: class numbers, or floats if `numeric`; None if unlabelled.
    class_names: the classes; empty if unlabelled or `numeric`.
    owner: who reads, for errors.
    argument: that names the recordings, likewise.
    axes: of a recording: 1, [samples], or 2, [samples, channels].

  Raises:
    ValueError: no such array, another shape or type, wrong lengths or labels.
  """

  owner: ClassVar[str]
  argument: ClassVar[str]
  axes: ClassVar[int]

  def __init__(
    self,
    arrays: Arrays,
    name: str,
    recordings: str,
    *,
    length: str | None,
    label: str | None,
    classes: tuple[str, ...] | None,
    numeric: bool,
    others: Mapping[str, Any],
  ):
    owner = self.owner
    found = arrays_lib.required(arrays, recordings, self.argument, owner)
    lengths = arrays_lib.taken(arrays, length, "length", "length", owner)
    labels = arrays_lib.taken(arrays, label, "label", "label", owner)
    self._arrays, self._recordings, self._name = arrays, recordings, name
    self.sizes, self._starts = self._bounds(found, lengths, recordings)
    rows = {recordings: self.sizes, str(label): labels, **others}
    arrays_lib.check_equally_long(rows, owner)
    self.class_names: tuple[str, ...] = ()
    self.labels: LabelValues | None = None
    if labels is not None:
      self.labels, self.class_names = labelled(
        labels, f"{owner}: {label!r}", classes=classes, numeric=numeric
      )

  @abc.abstractmethod
  def check(self, array: np.ndarray, name: str, axes: tuple[int, ...]) -> None:
    """Raises ValueError unless an array has recordings.

    Args:
      array: one recording, or all of them.
      name: of the recordings.
      axes: how many it may have.
    """

  def __len__(self) -> int:
    return len(self.sizes)

  def samples(self, index: int) -> np.ndarray:
    """Returns a recording as it is stored, [samples] or [samples, channels]."""
    length = int(self.sizes[index])
    recordings = self._arrays[self._recordings]
    if self._starts is None:
      return np.asarray(recordings[index])[:length]
    start = int(self._starts[index])
    return np.asarray(recordings[start : start + length])

  def record_name(self, index: int) -> str:
    """Returns for example 'words.npz[3]'."""
    return f"{self._name}[{index}]"

  def _bounds(
    self, recordings: Any, lengths: Any, name: str
  ) -> tuple[np.ndarray, np.ndarray | None]:
    """Length of each recording, int64 [n], and where it starts in one row."""
    owner = self.owner
    whole = isinstance(recordings, np.ndarray) and recordings.dtype != object
    if whole:
      self.check(recordings, name, (self.axes, self.axes + 1))
    else:
      for row in recordings:
        self.check(np.asarray(row), name, (self.axes,))
    if lengths is not None:
      lengths = np.asarray(lengths)
      wrong = lengths.ndim != 1 or lengths.dtype.kind not in "iu"
      if wrong or any(lengths < 0):
        raise ValueError(
          f"{owner}: lengths must be whole numbers [n], got {lengths.dtype} "
          f"{list(lengths.shape)}"
        )
      lengths = lengths.astype(np.int64)
    if whole and recordings.ndim == self.axes:
      if lengths is None or lengths.sum() != len(recordings):
        said = (
          "no lengths" if lengths is None else f"lengths of {lengths.sum()}"
        )
        every = "samples" if self.axes == 1 else "samples, channels"
        raise ValueError(
          f"{owner}: {name!r} is one row of {len(recordings)} samples, with "
          f"{said}; give an array `length` that says how many of them each "
          f"recording has, or recordings [n, {every}]"
        )
      return lengths, np.cumsum(lengths) - lengths
    there = (
      np.full(len(recordings), recordings.shape[1])
      if whole
      else np.array([len(row) for row in recordings], np.int64)
    )
    if lengths is None:
      return there.astype(np.int64), None
    arrays_lib.check_equally_long({name: there, "length": lengths}, owner)
    if (lengths > there).any():
      first = int(np.argmax(lengths > there))
      raise ValueError(
        f"{owner}: recording {first} has the length {lengths[first]}, but "
        f"{there[first]} samples"
      )
    return lengths, None
