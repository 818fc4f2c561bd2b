"""config.data of images."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar

from d2v_jax import config as config_lib
from d2v_jax.config import Choices, ConfigError, FromRun
from d2v_jax.data.checking.look import Look
from d2v_jax.data.dataset import (
  DATA,
  Dataset,
  EvaluationExamples,
  Example,
)
from d2v_jax.data.images import given as images_given
from d2v_jax.data.images import look as image_look
from d2v_jax.data.images.cropping import Resampling
from d2v_jax.data.images.examples import DecodedImages
from d2v_jax.data.images.pixels import MAX_PIXELS, Form
from d2v_jax.data.images.sources import SOURCES
from d2v_jax.data.images.transform import (
  RESIZE_RATIO,
  ImageEvalTransform,
  ImageTrainTransform,
)
from d2v_jax.data.labels import CLASS_LABELS, Labels, RecordLabel
from d2v_jax.data.layout import ImageInputs
from d2v_jax.data.masks.image import MASKS
from d2v_jax.data.masks.mask import Mask
from d2v_jax.data.source import Record


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageData(Dataset):
  """Images for training, evaluation and feature extraction.

  Attributes:
    inputs: what the encoder takes.
    mask: what draws the masks; None to train without.
    labels: what makes the labels; None for those that records have.
    channels: see `Form`, as the fields below.
    range: the values that become 0 and 255; None for 8 bits.
    background: grey level behind transparent images; None refuses them.
    max_pixels: images of more are refused.
    resize_ratio: see `ImageEvalTransform`, as the last one.
    resampling: what images to evaluate are resized with.
    keep_aspect: whether these keep the ratio of their sides.
  """

  inputs: FromRun[ImageInputs]
  mask: Annotated[Mask | None, Choices(MASKS)] = None
  labels: Annotated[Labels | None, Choices(CLASS_LABELS)] = None
  channels: int = 3
  range: tuple[float, float] | None = None
  background: int | None = None
  max_pixels: int = MAX_PIXELS
  resize_ratio: float | None = RESIZE_RATIO
  resampling: Resampling = "area"
  keep_aspect: bool = True

  sources: ClassVar[Mapping[str, Callable]] = SOURCES

  def __post_init__(self) -> None:
    super().__post_init__()
    with config_lib.errors_at(DATA):
      _ = self.form
      _ = self._evaluation_transform(RecordLabel())

  @property
  def form(self) -> Form:
    """What images are brought to."""
    return Form(self.channels, self.range, self.background, self.max_pixels)

  @property
  def _side(self) -> int:
    """Side of what images become, pixels."""
    height, width = self.inputs.size
    if height != width:
      raise ConfigError(
        f"config.encoder.image_size: images become squares, got ({height}, "
        f"{width}); give one number."
      )
    return height

  def transform(self) -> ImageTrainTransform:
    """See `Dataset.transform`."""
    if self.mask is not None:
      with config_lib.errors_at(f"{DATA}.mask"):
        self.mask.check(self.inputs.grid)
    made = config_lib.call(
      ImageTrainTransform,
      self.augment,
      f"{DATA}.augment",
      image_size=self._side,
      patch_size=self.inputs.patch_size,
      mask=self.mask,
      labels=self.labels or RecordLabel(),
    )
    colours = (made.color_jitter, made.rand_augment, made.view_augment)
    if not self.form.has_colors and any(x is not None for x in colours):
      raise ConfigError(
        f"{DATA}.augment: {self.channels} channels have no colours to change; "
        "set color_jitter, rand_augment and view_augment to None."
      )
    return made

  def blank(self, length: int | None = None) -> Example:
    """See `Dataset.blank`."""
    black = self.inputs.example(channels=self.channels)["inputs"][0]
    return {"image": black, "label": 0, "requested": 0, "record": 0}

  def training_examples(self, records: Any) -> DecodedImages:
    """See `Dataset.training_examples`."""
    return DecodedImages(records, self.form)

  def look(self, record: Record) -> Look:
    """See `Dataset.look`."""
    return image_look.look(record, self.form)

  def given_records(self, value: Any, name: str) -> Any:
    """See `Dataset.given_records`."""
    return images_given.images(value, name)

  def evaluation(self, records: Any, where: str) -> EvaluationExamples:
    """See `Dataset.evaluation`."""
    with config_lib.errors_at(where):
      source = DecodedImages(records, self.form)
    labels = self._labels_of(records) or RecordLabel()
    return EvaluationExamples(source, self._evaluation_transform(labels))

  def _evaluation_transform(self, labels: Labels) -> ImageEvalTransform:
    return ImageEvalTransform(
      self._side,
      self.resize_ratio,
      self.resampling,
      labels,
      self.keep_aspect,
    )
