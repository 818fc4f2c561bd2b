"""config.data of speech."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar

from d2v_jax import config as config_lib
from d2v_jax.config import Choices, ConfigError
from d2v_jax.data.checking.look import Look
from d2v_jax.data.dataset import DATA
from d2v_jax.data.labels import LABELS, Labels
from d2v_jax.data.masks.mask import Mask
from d2v_jax.data.masks.speech import MASKS
from d2v_jax.data.ranges import check_range
from d2v_jax.data.recordings.dataset import RecordingData
from d2v_jax.data.source import Record
from d2v_jax.data.speech import given as speech_given
from d2v_jax.data.speech import look as speech_look
from d2v_jax.data.speech.decoding import MAX_SECONDS, VARIANCE_FLOOR
from d2v_jax.data.speech.examples import (
  Utterances,
  evaluation_utterances,
  training_utterances,
)
from d2v_jax.data.speech.sources import SOURCES


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpeechData(RecordingData):
  """Recordings of speech; see `RecordingData` for what else it has.

  Attributes:
    mask: what draws the hidden frames; None to train without.
    channel_mask: what draws the hidden channels; None for none.
    labels: what makes the labels; None to pretrain.
    min_samples: utterances that are shorter are left out of training.
    max_seconds: recordings that are longer are left out, and not decoded.
    variance_floor: added to the variance of a recording, by whose root it is
      divided.
  """

  mask: Annotated[Mask | None, Choices(MASKS)] = None
  channel_mask: Annotated[Mask | None, Choices(MASKS)] = None
  labels: Annotated[Labels | None, Choices(LABELS)] = None
  min_samples: int = 0
  max_seconds: float = MAX_SECONDS
  variance_floor: float = VARIANCE_FLOOR

  sources: ClassVar[Mapping[str, Callable]] = SOURCES

  def __post_init__(self) -> None:
    super().__post_init__()
    if self.min_samples < 0:
      raise ConfigError(
        f"{DATA}.min_samples must be 0 or more, got {self.min_samples}."
      )
    with config_lib.errors_at(DATA):
      check_range("speech", "variance_floor", self.variance_floor, 1e-12, 1.0)

  def training_examples(self, records: Any) -> Utterances:
    """See `Dataset.training_examples`."""
    assert self.buckets is not None  # as there are records
    return training_utterances(
      records,
      buckets=self.buckets,
      labels=self.labels,
      min_samples=self.min_samples,
      min_frames=self.fewest_frames,
      max_seconds=self.max_seconds,
      conv_layers=self.inputs.conv_layers,
      variance_floor=self.variance_floor,
    )

  def look(self, record: Record) -> Look:
    """See `Dataset.look`."""
    return speech_look.look(record, self.max_seconds)

  def given_records(self, value: Any, name: str) -> Any:
    """See `Dataset.given_records`."""
    return speech_given.recordings(value, name)

  def usable(self, records: Any, labels: Labels | None) -> Utterances:
    """See `RecordingData.usable`."""
    return evaluation_utterances(
      records,
      labels=labels,
      max_seconds=self.max_seconds,
      conv_layers=self.inputs.conv_layers,
      variance_floor=self.variance_floor,
    )
