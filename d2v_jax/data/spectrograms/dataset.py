"""config.data of spectrograms."""

import dataclasses
import functools
import logging
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar

import numpy as np

from d2v_jax import config as config_lib
from d2v_jax.config import Choices, ConfigError, FromRun
from d2v_jax.data import mel
from d2v_jax.data.checking.look import Look
from d2v_jax.data.dataset import (
  DATA,
  Dataset,
  EvaluationExamples,
  Example,
)
from d2v_jax.data.labels import CLASS_LABELS, Labels
from d2v_jax.data.layout import ConvLayers, SpectrogramInputs
from d2v_jax.data.masks.image import MASKS
from d2v_jax.data.masks.mask import Mask
from d2v_jax.data.ranges import check_range
from d2v_jax.data.source import Record
from d2v_jax.data.spectrograms import look as spectrogram_look
from d2v_jax.data.spectrograms.transform import (
  LogMelFrames,
  SpectrogramEvalTransform,
  SpectrogramTrainTransform,
)
from d2v_jax.data.speech import given as speech_given
from d2v_jax.data.speech.decoding import MAX_SECONDS
from d2v_jax.data.speech.examples import Utterances
from d2v_jax.data.speech.sources import SOURCES

# A window is what one convolution of a frame would see.
_WINDOWS: ConvLayers = ((1, mel.WINDOW, mel.HOP),)
# Of one value for all bands.
_Value = tuple[float]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpectrogramData(Dataset):
  """Recordings as log-mel frames, for training, evaluation and features.

  Attributes:
    inputs: what the encoder takes.
    mask: what draws the hidden patches; None to train without.
    labels: what makes the labels; None to pretrain.
    mean: of log-mel values, subtracted from all; `d2v check` measures it.
    std: they are divided by.
    min_seconds: recordings that are shorter are left out of training.
    max_seconds: recordings that are longer are left out, and not decoded.
  """

  inputs: FromRun[SpectrogramInputs]
  mask: Annotated[Mask | None, Choices(MASKS)] = None
  labels: Annotated[Labels | None, Choices(CLASS_LABELS)] = None
  mean: _Value = (0.0,)
  std: _Value = (1.0,)
  min_seconds: float = 0.0
  max_seconds: float = MAX_SECONDS

  sources: ClassVar[Mapping[str, Callable]] = SOURCES
  normalised_at: ClassVar[str] = DATA

  def __post_init__(self) -> None:
    super().__post_init__()
    with config_lib.errors_at(DATA):
      check_range("recordings", "min_seconds", self.min_seconds, 0, 1e6)
      check_range("recordings", "max_seconds", self.max_seconds, 0.001, 1e6)
      _ = self._frames

  @functools.cached_property
  def _frames(self) -> LogMelFrames:
    return LogMelFrames(self.inputs, self.mean[0], self.std[0])

  def transform(self) -> SpectrogramTrainTransform:
    """See `Dataset.transform`."""
    if self.mask is not None:
      with config_lib.errors_at(f"{DATA}.mask"):
        self.mask.check(self.inputs.grid)
    if self.augment:
      raise ConfigError(
        f"{DATA}.augment: spectrograms are not augmented; leave it out, got "
        f"{', '.join(sorted(self.augment))}."
      )
    return SpectrogramTrainTransform(self._frames, self.mask, self.labels)

  def blank(self, length: int | None = None) -> Example:
    """See `Dataset.blank`."""
    silence = np.zeros(self.inputs.samples, np.float32)
    return {"samples": silence, "label": 0, "requested": 0, "record": 0}

  def training_examples(self, records: Any) -> Utterances:
    """See `Dataset.training_examples`."""
    least = round(self.min_seconds * mel.RATE)
    made = self._utterances(records, least)
    self._say_what_is_cropped(made.lengths)
    return made

  def look(self, record: Record) -> Look:
    """See `Dataset.look`."""
    return spectrogram_look.look(record, self.max_seconds, self.inputs.size[1])

  def given_records(self, value: Any, name: str) -> Any:
    """See `Dataset.given_records`."""
    return speech_given.recordings(value, name)

  def evaluation(self, records: Any, where: str) -> EvaluationExamples:
    """See `Dataset.evaluation`."""
    labels = self._labels_of(records)
    with config_lib.errors_at(where):
      source = self._utterances(records, 0)
    made = SpectrogramEvalTransform(self._frames, labels)
    return EvaluationExamples(source, made)

  def _utterances(self, records: Any, min_samples: int) -> Utterances:
    return Utterances(
      records,
      min_samples=min_samples,
      max_seconds=self.max_seconds,
      conv_layers=_WINDOWS,
    )

  def _say_what_is_cropped(self, lengths: np.ndarray) -> None:
    held = self.inputs.samples
    longer = lengths > held
    seconds = held / mel.RATE
    if longer.any():
      logging.warning(
        "training crops %d of %d recordings to %g s (encoder.frames): %.0f %% "
        "of all there is to learn from sits out each epoch, the longest has "
        "%g s; more frames keep more",
        longer.sum(),
        len(lengths),
        seconds,
        100 * np.maximum(lengths - held, 0).sum() / lengths.sum(),
        lengths.max() / mel.RATE,
      )
    filling = 1 - np.minimum(lengths, held).sum() / (held * len(lengths))
    logging.info(
      "recordings become %g s of %d frames; %.0f %% of them is silence behind "
      "shorter ones",
      seconds,
      self.inputs.size[0],
      100 * filling,
    )
