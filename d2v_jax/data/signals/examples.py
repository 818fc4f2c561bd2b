"""Signals ready for training or evaluation: which are used, and normalised."""

from typing import Any, Protocol

import numpy as np

from d2v_jax.data import layout
from d2v_jax.data.files.unreadable import Unreadable, shown
from d2v_jax.data.layout import WaveformInputs
from d2v_jax.data.recordings.usable import UNREADABLE, UsableRecordings
from d2v_jax.data.signals.normalise import Normalisation
from d2v_jax.data.signals.rates import resampled, resampled_lengths
from d2v_jax.data.source import Example, Source

_REMEDY = "check the files, or change min_seconds, max_seconds or the source"


class SignalSource(Source, Protocol):
  """A source of signals: records {'signal': numbers [T, C], 'label': if any}.

  Attributes:
    class_names: the classes; empty if unlabelled or labelled by numbers.
    sizes: int64 [n], samples of each; 0 where unreadable.
    rates: float64 [n], samples per second of each; 0 where that is not known.
  """

  class_names: tuple[str, ...]
  sizes: np.ndarray
  rates: np.ndarray


class Signals(UsableRecordings):
  """A source's signals, normalised, and chosen by their length.

  Item i is {'samples': float32 [T, C], 'label' if the source has one}, see
  `UsableRecordings`.

  Args:
    source: signals.
    inputs: what the encoder takes.
    normalise: what each signal goes through.
    resample: whether signals of another rate are converted; else they are an
      error.
    min_seconds: leave out shorter ones.
    min_frames: leave out those of fewer: of one, none can be hidden.
    max_seconds: leave out longer ones.

  Raises:
    ValueError: a rate or a number of channels is not the encoder's, or what
      `UsableRecordings` raises.
  """

  owner = "Signals"
  what = "signals"
  remedy = _REMEDY

  def __init__(
    self,
    source: SignalSource,
    *,
    inputs: WaveformInputs,
    normalise: Normalisation,
    resample: bool,
    min_seconds: float = 0.0,
    min_frames: int = 1,
    max_seconds: float,
  ):
    self._inputs, self._normalise = inputs, normalise
    self._rates, rate = source.rates, inputs.rate
    _check_first(source, inputs.channels)
    if not resample:
      _check_rates(source, rate)
    lengths = resampled_lengths(source.sizes, source.rates, rate)
    frames = layout.num_frames(lengths, inputs.conv_layers)
    reasons = {
      UNREADABLE: lengths == 0,
      f"longer than max_seconds={max_seconds:g}": lengths > max_seconds * rate,
      "too short for one frame": frames < 1,
      f"of fewer than {min_frames} frames": frames < min_frames,
      f"shorter than min_seconds={min_seconds:g}": lengths < min_seconds * rate,
    }
    super().__init__(source, lengths, reasons)

  def read(self, number: int) -> Example:
    """See `UsableRecordings.read`."""
    record = self._source[number]
    signal = record["signal"]
    check_channels(signal, self._inputs.channels)
    check_finite(signal)
    signal = resampled(
      signal.astype(np.float64), self._rates[number], self._inputs.rate
    )
    example: Example = {"samples": self._normalise(signal)}
    return example | {k: record[k] for k in ("label",) if k in record}


def _check_first(source: SignalSource, wanted: int | None) -> None:
  """Raises where the first signal has other channels: then all may."""
  first = int(np.argmax(source.sizes > 0))
  try:
    signal = source[first]["signal"]
  except Unreadable:
    return
  if signal.shape[1] != wanted:
    name = shown(source.record_name(first))
    raise ValueError(f"Signals: {name}: {_wrong_channels(signal, wanted)}")


def _wrong_channels(signal: np.ndarray, wanted: int | None) -> str:
  turned = (
    ", and as many samples: put the channels last, as x.T does"
    if len(signal) == wanted
    else "; choose its channels, or set config.encoder.channels"
  )
  return f"it has {signal.shape[1]} channels, and the encoder {wanted}{turned}"


def check_channels(signal: np.ndarray, wanted: int | None) -> None:
  """Raises Unreadable for a signal of other channels than the encoder's.

  Args:
    signal: numbers [T, C].
    wanted: C of the encoder.
  """
  if signal.shape[1] != wanted:
    raise Unreadable(_wrong_channels(signal, wanted))


def check_finite(signal: np.ndarray) -> None:
  """Raises Unreadable for a signal with values that are missing or infinite.

  Args:
    signal: numbers [T, C].
  """
  if signal.dtype.kind != "f" or np.isfinite(signal).all():
    return
  wrong = ~np.isfinite(signal)
  time, channel = map(int, np.argwhere(wrong)[0])
  raise Unreadable(
    f"{wrong.sum()} of its values are missing or infinite, the first at sample "
    f"{time} of channel {channel}; fill them, or cut the recording there"
  )


def _check_rates(source: SignalSource, rate: float) -> None:
  others = np.flatnonzero((source.rates > 0) & (source.rates != rate))
  if len(others):
    first: Any = others[0]
    raise ValueError(
      f"Signals: {shown(source.record_name(int(first)))} has "
      f"{source.rates[first]:g} samples per second, as {len(others)} of "
      f"{len(source)} have another rate than the encoder's {rate:g}; set "
      "config.data.resample=True to convert them, or config.encoder.rate"
    )
