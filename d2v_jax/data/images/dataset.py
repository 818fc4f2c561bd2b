"""config.data of images."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar

from d2v_jax import config as config_lib
from d2v_jax.config import Choices, ConfigError, FromRun
from d2v_jax.data.dataset import (
  DATA,
  EVALUATION,
  Dataset,
  EvaluationExamples,
  Example,
  Section,
  TrainingExamples,
)
from d2v_jax.data.images.examples import DecodedImages
from d2v_jax.data.images.sources import SOURCES
from d2v_jax.data.images.transform import (
  ImageEvalTransform,
  ImageTrainTransform,
)
from d2v_jax.data.layout import ImageInputs
from d2v_jax.data.masks.image import MASKS
from d2v_jax.data.masks.mask import Mask


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageData(Dataset):
  """Images for training, evaluation and feature extraction.

  Attributes:
    inputs: what the encoder takes.
    mask: what draws the masks; None to train without.
    channels: 1 (grey) or 3 (RGB).
  """

  inputs: FromRun[ImageInputs]
  mask: Annotated[Mask | None, Choices(MASKS)] = None
  channels: int = 3

  sources: ClassVar[Mapping[str, Callable]] = SOURCES

  def __post_init__(self) -> None:
    super().__post_init__()
    if self.channels not in (1, 3):
      raise ConfigError(
        f"{DATA}.channels must be 1 or 3, got {self.channels} (grey or RGB)."
      )

  def transform(self) -> ImageTrainTransform:
    """See `Dataset.transform`."""
    if self.mask is not None:
      with config_lib.errors_at(f"{DATA}.mask"):
        self.mask.check(self.inputs.grid)
    return config_lib.call(
      ImageTrainTransform,
      self.augment,
      f"{DATA}.augment",
      image_size=self.inputs.image_size,
      patch_size=self.inputs.patch_size,
      mask=self.mask,
    )

  def blank(self, length: int | None = None) -> Example:
    """See `Dataset.blank`."""
    black = self.inputs.example(channels=self.channels)["inputs"][0]
    return {"image": black, "label": 0, "requested": 0, "record": 0}

  def training(self) -> TrainingExamples:
    """See `Dataset.training`."""
    transform, records = self.transform(), self._training_source()
    with config_lib.errors_at(DATA):
      return TrainingExamples(DecodedImages(records, self.channels), transform)

  def evaluation(
    self, records: Any, transform: Section, where: str
  ) -> EvaluationExamples:
    """See `Dataset.evaluation`."""
    with config_lib.errors_at(where):
      source = DecodedImages(records, self.channels)
    made = self._evaluation_transform(transform)
    return EvaluationExamples(source, made)

  def check_evaluation(self, transform: Section) -> None:
    """See `Dataset.check_evaluation`."""
    self._evaluation_transform(transform)

  def _evaluation_transform(self, fields: Section) -> ImageEvalTransform:
    return config_lib.call(
      ImageEvalTransform,
      fields,
      f"{EVALUATION}.transform",
      image_size=self.inputs.image_size,
    )
