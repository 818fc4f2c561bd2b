"""config.data of signals."""

import dataclasses
import functools
import logging
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar

from d2v_jax import config as config_lib
from d2v_jax.config import Choices
from d2v_jax.data.checking.look import Look
from d2v_jax.data.dataset import DATA
from d2v_jax.data.labels import CLASS_LABELS, Labels
from d2v_jax.data.layout import WaveformInputs
from d2v_jax.data.masks.mask import Mask
from d2v_jax.data.masks.signal import MASKS
from d2v_jax.data.ranges import check_range
from d2v_jax.data.recordings.dataset import RecordingData
from d2v_jax.data.signals import given as signals_given
from d2v_jax.data.signals import look as signals_look
from d2v_jax.data.signals.examples import Signals
from d2v_jax.data.signals.normalise import Channels, Normalisation
from d2v_jax.data.signals.sources import SOURCES
from d2v_jax.data.source import Record


@dataclasses.dataclass(frozen=True, kw_only=True)
class SignalData(RecordingData):
  """Signals of several channels; see `RecordingData` for what else it has.

  Attributes:
    mask: what draws the hidden frames; None to train without.
    labels: what makes the labels; None to pretrain.
    mean: of each channel, see `Normalisation`; None: each recording's own.
    std: likewise.
    resample: whether signals of another rate than the encoder's are converted;
      else they are an error.
    min_seconds: signals that are shorter are left out of training.
  """

  mask: Annotated[Mask | None, Choices(MASKS)] = None
  labels: Annotated[Labels | None, Choices(CLASS_LABELS)] = None
  mean: Channels | None = None
  std: Channels | None = None
  resample: bool = False
  min_seconds: float = 0.0

  sources: ClassVar[Mapping[str, Callable]] = SOURCES
  normalised_at: ClassVar[str] = DATA

  def __post_init__(self) -> None:
    super().__post_init__()
    with config_lib.errors_at(DATA):
      check_range("signals", "min_seconds", self.min_seconds, 0, 1e6)
      _ = self._normalisation

  @functools.cached_property
  def _normalisation(self) -> Normalisation:
    assert self.inputs.channels is not None  # of a signal
    return Normalisation(self.inputs.channels, self.mean, self.std)

  def training_examples(self, records: Any) -> Signals:
    """See `Dataset.training_examples`."""
    logging.info(described(self.inputs))
    return self._signals(records, self.min_seconds, self.fewest_frames)

  def look(self, record: Record) -> Look:
    """See `Dataset.look`."""
    assert self.inputs.channels is not None  # of a signal
    return signals_look.look(record, self.inputs.channels, self._normalisation)

  def given_records(self, value: Any, name: str) -> Any:
    """See `Dataset.given_records`."""
    return signals_given.signals(value, name)

  def usable(self, records: Any, labels: Labels | None) -> Signals:
    """See `RecordingData.usable`."""
    return self._signals(records, 0.0)

  def _signals(
    self, records: Any, min_seconds: float, min_frames: int = 1
  ) -> Signals:
    return Signals(
      records,
      inputs=self.inputs,
      normalise=self._normalisation,
      resample=self.resample,
      min_frames=min_frames,
      min_seconds=min_seconds,
      max_seconds=self.max_seconds,
    )


def described(inputs: WaveformInputs) -> str:
  """Says in seconds and in samples what an encoder makes of a signal.

  Args:
    inputs: what it takes.
  """
  rate, seen, hop = inputs.rate, inputs.shortest, inputs.hop
  layers = ", ".join(map(str, inputs.conv_layers))
  return (
    f"signals of {inputs.channels} channels at {rate:g} Hz: a frame sees "
    f"{seen / rate:.4g} s ({seen} samples), the next begins {hop / rate:.4g} s "
    f"({hop} samples) later; (channels, kernel, stride) of the convolutions: "
    f"{layers}"
  )
