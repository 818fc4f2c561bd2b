"""config.data of recordings: what speech and signals have in common."""

import abc
import dataclasses
from typing import Any, ClassVar

from d2v_jax import config as config_lib
from d2v_jax.config import FromRun
from d2v_jax.data.buckets import Buckets
from d2v_jax.data.dataset import (
  DATA,
  Dataset,
  EvaluationExamples,
  Example,
)
from d2v_jax.data.labels import Labels
from d2v_jax.data.layout import WaveformInputs
from d2v_jax.data.masks.mask import Mask
from d2v_jax.data.ranges import check_range
from d2v_jax.data.recordings.transform import (
  RecordingEvalTransform,
  RecordingTrainTransform,
)
from d2v_jax.data.recordings.usable import UsableRecordings


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecordingData(Dataset):
  """Recordings for training, evaluation and feature extraction.

  Attributes:
    inputs: what the encoder takes.
    mask: what draws the hidden frames; None to train without.
    labels: what makes the labels; None to pretrain.
    buckets: lengths of batches, in samples.
    max_seconds: recordings that are longer are left out, and not decoded.
  """

  inputs: FromRun[WaveformInputs]
  mask: Mask | None = None
  labels: Labels | None = None
  buckets: Buckets | None = None
  max_seconds: float = 1800.0

  needs_buckets: ClassVar[bool] = True

  def __post_init__(self) -> None:
    super().__post_init__()
    with config_lib.errors_at(DATA):
      check_range("recordings", "max_seconds", self.max_seconds, 0.001, 1e6)

  @abc.abstractmethod
  def usable(self, records: Any, labels: Labels | None) -> UsableRecordings:
    """Every recording that has a frame, whatever its label.

    Args:
      records: a source, such as one of `sources`.
      labels: what makes the labels.

    Raises:
      ValueError: they do not fit.
    """

  def transform(self) -> RecordingTrainTransform:
    """See `Dataset.transform`."""
    return config_lib.call(
      RecordingTrainTransform,
      self.augment,
      f"{DATA}.augment",
      conv_layers=self.inputs.conv_layers,
      width=self.inputs.width,
      mask=self.mask,
      channel_mask=self.channel_mask,
      labels=self.labels,
    )

  @property
  def channel_mask(self) -> Mask | None:
    """What draws the hidden channels of tokens; None for none."""
    return None

  @property
  def fewest_frames(self) -> int:
    """What an example to train on must have, so that some can be hidden."""
    if self.mask is None or self.buckets is None:
      return 1
    longest = self.num_tokens(self.buckets.lengths[-1])
    try:
      self.mask.check((longest,), shortest=1)
    except ValueError:
      return 2
    return 1

  def blank(self, length: int | None = None) -> Example:
    """See `Dataset.blank`."""
    silence = self.inputs.example(length=length)["inputs"][0]
    return {
      "samples": silence,
      "length": len(silence),
      "label": 0,
      "text": "",
      "requested": 0,
      "record": 0,
    }

  def evaluation(self, records: Any, where: str) -> EvaluationExamples:
    """See `Dataset.evaluation`."""
    labels = self._labels_of(records)
    with config_lib.errors_at(where):
      source = self.usable(records, labels)
    made = RecordingEvalTransform(self.inputs.conv_layers, labels)
    return EvaluationExamples(source, made)
