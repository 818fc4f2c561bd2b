"""Signals given in Python."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from d2v_jax.data import given as given_lib
from d2v_jax.data.given import GivenRecords
from d2v_jax.data.hf.loading import is_dataset
from d2v_jax.data.hf.rows import HfRows
from d2v_jax.data.label_values import of_record
from d2v_jax.data.signals.arrays import SignalArrays
from d2v_jax.data.signals.hf import SignalRows
from d2v_jax.data.source import Record


class GivenSignals(GivenRecords):
  """Signals of a source of the caller; all are looked at in the beginning.

  Args:
    source: records {'signal': numbers [T, C], 'rate' if it may be another than
      the network's, 'label' if there is one}.
    name: of the split.

  Attributes:
    sizes: int64 [n], samples of each.
    rates: float64 [n], samples per second of each; 0 where that is not known.

  Raises:
    ValueError: as `GivenRecords`.
  """

  def __init__(self, source: Any, name: str):
    super().__init__(source, name, "signal", _record)
    records = [self[i] for i in range(len(self))]
    self.sizes = np.array([len(x["signal"]) for x in records], np.int64)
    self.rates = np.array([x.get("rate", 0.0) for x in records])


def signals(value: Any, name: str) -> SignalArrays | SignalRows | GivenSignals:
  """Returns signals as a source.

  Args:
    value: signals, or arrays as of `SignalArrays`, by name with `rate`,
      `classes` and `numeric`; or a dataset of the package `datasets`; or
      records, see `GivenSignals`.
    name: of the split.

  Raises:
    ValueError: it is none of these, or wrong in itself.
  """
  if isinstance(value, Mapping):
    arrays, options = given_lib.arrays_and_options(value, SignalArrays)
    return SignalArrays(arrays, name, **options)
  if given_lib.is_arrays(value):
    return SignalArrays({"signal": value}, name)
  if is_dataset(value):
    return SignalRows(HfRows(value, name))
  return GivenSignals(value, name)


def _record(record: Record) -> Record:
  signal = np.asarray(record["signal"])
  if signal.ndim != 2 or signal.dtype.kind not in "iuf":
    raise ValueError(
      "data: 'signal' of a record must be numbers [samples, channels], got "
      f"{signal.dtype} {list(signal.shape)}"
    )
  made: Record = {"signal": signal}
  if "rate" in record:
    made["rate"] = float(record["rate"])
  if "label" in record:
    made["label"] = of_record(record["label"])
  return made
