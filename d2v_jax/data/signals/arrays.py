"""Signals in arrays."""

import numpy as np

from d2v_jax.data.array_files import ArrayFiles
from d2v_jax.data.arrays import Arrays
from d2v_jax.data.recordings.arrays import RecordingArrays
from d2v_jax.data.signals.rates import same_rates
from d2v_jax.data.source import Record

_OWNER = "SignalArrays"


class SignalArrays(RecordingArrays):
  """Signals in arrays, each read when it is asked for.

  Args:
    arrays: name -> array: signals [n, T, C], a list of [T, C], or all of them
      one after the other, [total, C], whose `length` says where each ends, of
      integers or floats in any unit; labels [n], whole numbers or texts.
    name: of all of them, for names of records.
    rate: samples per second; None: the network's.
    signal: name of the signals.
    length: name of the lengths, int [n], in samples; rows are filled up behind
      them. May be missing if it is the default, then rows are used whole.
    label: name of the labels; may be missing if it is the default; None for
      none.
    classes: see `labelled`.
    numeric: labels are numbers, not classes.

  Attributes:
    rates: samples per second of each, float64 [n]; 0 where that is not known.

  Raises:
    ValueError: no such array, another shape or type, wrong lengths or labels.
  """

  owner = _OWNER
  argument = "signal"
  axes = 2

  def __init__(
    self,
    arrays: Arrays,
    name: str,
    *,
    rate: float | None = None,
    signal: str = "signal",
    length: str | None = "length",
    label: str | None = "label",
    classes: tuple[str, ...] | None = None,
    numeric: bool = False,
  ):
    super().__init__(
      arrays,
      name,
      signal,
      length=length,
      label=label,
      classes=classes,
      numeric=numeric,
      others={},
    )
    self.rates = same_rates(_OWNER, rate, len(self))

  def __getitem__(self, index: int) -> Record:
    record: Record = {"signal": self.samples(index)}
    if self.labels is not None:
      record["label"] = self.labels[index]
    return record

  def check(self, array: np.ndarray, name: str, axes: tuple[int, ...]) -> None:
    """See `RecordingArrays.check`."""
    if array.dtype.kind not in "iuf":
      raise ValueError(
        f"{_OWNER}: {name!r} has the type {array.dtype}; it must be integers "
        "or floats"
      )
    if array.ndim not in axes:
      raise ValueError(
        f"{_OWNER}: {name!r} has the shape {list(array.shape)}; it must be [n, "
        "samples, channels], a list of [samples, channels], or [total, "
        "channels] with lengths; of one channel add the axis: x[..., None]"
      )


class SignalArrayFiles(SignalArrays):
  """Signals in .npy or .npz files, which stay there.

  Args:
    path: see `ArrayFiles`.
    rate: see `SignalArrays`, as the others.
    signal: name of the signals.
    length: name of their lengths.
    label: name of the labels.
    classes: their names.
    numeric: whether they are numbers.

  Raises:
    ValueError: as `ArrayFiles` and `SignalArrays`.
  """

  def __init__(
    self,
    path: str,
    rate: float | None = None,
    signal: str = "signal",
    length: str | None = "length",
    label: str | None = "label",
    classes: tuple[str, ...] | None = None,
    numeric: bool = False,
  ):
    super().__init__(
      ArrayFiles(path, signal, _OWNER),
      path,
      rate=rate,
      signal=signal,
      length=length,
      label=label,
      classes=classes,
      numeric=numeric,
    )
