"""Signals in Parquet and Arrow files and in Hugging Face datasets."""

import numpy as np

from d2v_jax.data.files.unreadable import Unreadable
from d2v_jax.data.hf.loading import load
from d2v_jax.data.hf.rows import HfRows
from d2v_jax.data.signals.rates import same_rates
from d2v_jax.data.source import Record


class SignalRows:
  """Signals of a dataset, each read when it is asked for.

  Args:
    rows: the dataset.
    rate: samples per second; None: the network's.
    signal: column of the signals, lists [T] of lists [C] of numbers.
    label: column of the labels, of the type ClassLabel, whole numbers or texts,
      or lists of them; may be missing if it is the default; None for none.
    classes: see `labelled`; None for those of ClassLabel, if it is one.
    numeric: labels are numbers, not classes.

  Attributes:
    sizes: int64 [n], samples of each; 0 where there is none.
    rates: samples per second of each, float64 [n]; 0 where that is not known.

  Raises:
    ValueError: no such column, or another type; a label is missing; `rate` is
      no rate.
  """

  def __init__(
    self,
    rows: HfRows,
    *,
    rate: float | None = None,
    signal: str = "signal",
    label: str | None = "label",
    classes: tuple[str, ...] | None = None,
    numeric: bool = False,
  ):
    self._rows = rows
    self._column = rows.arrays_of(
      signal, "signal", "numbers [samples, channels]"
    )
    self.labels, self.class_names = rows.labels(label, classes, numeric)
    self.rates = same_rates("SignalRows", rate, len(rows))
    self.sizes = np.fromiter(map(self._size, range(len(rows))), np.int64)

  def __len__(self) -> int:
    return len(self._rows)

  def __getitem__(self, index: int) -> Record:
    signal = self._column[index]
    if signal.ndim != 2:
      raise Unreadable(
        f"it has {signal.dtype} {list(signal.shape)}, not numbers [samples, "
        "channels]"
      )
    record: Record = {"signal": signal}
    if self.labels is not None:
      record["label"] = self.labels[index]
    return record

  def record_name(self, index: int) -> str:
    """Returns for example 'gait/train[3]'."""
    return self._rows.row_name(index)

  def _size(self, index: int) -> int:
    try:
      return len(self[index]["signal"])
    except Unreadable:
      return 0


class HfSignals(SignalRows):
  """The same, of a path or a name.

  Args:
    path: see `loading.load`, as the next ones.
    split: such as 'train'.
    subset: configuration of the dataset.
    revision: commit or tag on the hub.
    streaming: must be False.
    rate: see `SignalRows`, as the next ones.
    signal: column of the signals.
    label: column of the labels.
    classes: their names.
    numeric: whether they are numbers.

  Raises:
    ValueError: as `loading.load` and `SignalRows`.
  """

  def __init__(
    self,
    path: str,
    split: str | None = None,
    *,
    subset: str | None = None,
    revision: str | None = None,
    streaming: bool = False,
    rate: float | None = None,
    signal: str = "signal",
    label: str | None = "label",
    classes: tuple[str, ...] | None = None,
    numeric: bool = False,
  ):
    super().__init__(
      load(path, split, subset, revision, streaming),
      rate=rate,
      signal=signal,
      label=label,
      classes=classes,
      numeric=numeric,
    )
