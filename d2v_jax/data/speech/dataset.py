"""config.data of speech."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar

from d2v_jax import config as config_lib
from d2v_jax.config import Choices, ConfigError, FromRun
from d2v_jax.data.buckets import Buckets
from d2v_jax.data.checking.look import Look
from d2v_jax.data.dataset import (
  DATA,
  EVALUATION,
  Dataset,
  EvaluationExamples,
  Example,
  Section,
)
from d2v_jax.data.labels import LABELS, Labels
from d2v_jax.data.layout import WaveformInputs
from d2v_jax.data.masks.mask import Mask
from d2v_jax.data.masks.speech import MASKS
from d2v_jax.data.ranges import check_range
from d2v_jax.data.source import Record
from d2v_jax.data.speech import given as speech_given
from d2v_jax.data.speech import look as speech_look
from d2v_jax.data.speech.decoding import MAX_SECONDS
from d2v_jax.data.speech.examples import (
  Utterances,
  evaluation_utterances,
  training_utterances,
)
from d2v_jax.data.speech.sources import SOURCES
from d2v_jax.data.speech.transform import (
  SpeechEvalTransform,
  SpeechTrainTransform,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpeechData(Dataset):
  """Recordings for training, evaluation and feature extraction.

  Attributes:
    inputs: what the encoder takes.
    mask: what draws the hidden frames; None to train without.
    channel_mask: what draws the hidden channels; None for none.
    labels: what makes the labels; None to pretrain.
    buckets: lengths of batches, in samples.
    min_samples: utterances that are shorter are left out of training.
    max_seconds: recordings that are longer are left out, and not decoded.
  """

  inputs: FromRun[WaveformInputs]
  mask: Annotated[Mask | None, Choices(MASKS)] = None
  channel_mask: Annotated[Mask | None, Choices(MASKS)] = None
  labels: Annotated[Labels | None, Choices(LABELS)] = None
  buckets: Buckets | None = None
  min_samples: int = 0
  max_seconds: float = MAX_SECONDS

  sources: ClassVar[Mapping[str, Callable]] = SOURCES
  needs_buckets: ClassVar[bool] = True

  def __post_init__(self) -> None:
    super().__post_init__()
    if self.min_samples < 0:
      raise ConfigError(
        f"{DATA}.min_samples must be 0 or more, got {self.min_samples}."
      )
    with config_lib.errors_at(DATA):
      check_range("recordings", "max_seconds", self.max_seconds, 0.001, 1e6)

  def transform(self) -> SpeechTrainTransform:
    """See `Dataset.transform`."""
    return config_lib.call(
      SpeechTrainTransform,
      self.augment,
      f"{DATA}.augment",
      conv_layers=self.inputs.conv_layers,
      width=self.inputs.width,
      mask=self.mask,
      channel_mask=self.channel_mask,
      labels=self.labels,
    )

  def blank(self, length: int | None = None) -> Example:
    """See `Dataset.blank`."""
    silence = self.inputs.example(length=length)["inputs"][0]
    return {
      "audio": silence,
      "length": len(silence),
      "label": 0,
      "text": "",
      "requested": 0,
      "record": 0,
    }

  def training_examples(self, records: Any) -> Utterances:
    """See `Dataset.training_examples`."""
    assert self.buckets is not None  # as there are records
    return training_utterances(
      records,
      buckets=self.buckets,
      labels=self.labels,
      min_samples=self.min_samples,
      max_seconds=self.max_seconds,
      conv_layers=self.inputs.conv_layers,
    )

  def look(self, record: Record) -> Look:
    """See `Dataset.look`."""
    return speech_look.look(record, self.max_seconds)

  def given_records(self, value: Any, name: str) -> Any:
    """See `Dataset.given_records`."""
    return speech_given.recordings(value, name)

  def evaluation(
    self, records: Any, transform: Section, where: str
  ) -> EvaluationExamples:
    """See `Dataset.evaluation`."""
    labels, conv_layers = self._labels_of(records), self.inputs.conv_layers
    with config_lib.errors_at(where):
      source = evaluation_utterances(
        records,
        labels=labels,
        max_seconds=self.max_seconds,
        conv_layers=conv_layers,
      )
    made = self._evaluation_transform(transform, labels)
    return EvaluationExamples(source, made)

  def check_evaluation(self, transform: Section) -> None:
    """See `Dataset.check_evaluation`."""
    self._evaluation_transform(transform)

  def _evaluation_transform(
    self, fields: Section, labels: Labels | None = None
  ) -> SpeechEvalTransform:
    return config_lib.call(
      SpeechEvalTransform,
      fields,
      f"{EVALUATION}.transform",
      conv_layers=self.inputs.conv_layers,
      labels=labels,
    )
