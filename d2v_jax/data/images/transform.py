"""Image augmentation with NumPy and OpenCV; uint8 in and out."""

import dataclasses
import math

import numpy as np

from d2v_jax.data.images import colors
from d2v_jax.data.images.cropping import (
  Resampling,
  crop_box,
  resample,
  resize,
)
from d2v_jax.data.images.rand_augment import RandAugment
from d2v_jax.data.images.view_augment import ViewAugment
from d2v_jax.data.labels import Labels, RecordLabel
from d2v_jax.data.masks.mask import Mask
from d2v_jax.data.ranges import check_range
from d2v_jax.data.source import Example

_LARGEST = 2**15 - 1  # what OpenCV can warp
RESIZE_RATIO = 256 / 224


@dataclasses.dataclass(frozen=True)
class ImageTrainTransform:
  """Random crop, flip, changes of colour, and masks of one image.

  None or 0 turns a step off. Without a crop the whole image is resized to the
  square, if it is not of that size already.

  Args:
    image_size: side S of the result, in pixels.
    patch_size: side of a patch, in pixels; divides `image_size`.
    mask: what draws the mask, or several of them; None for no mask (supervised
      training, and two views).
    crop_scale: smallest and largest share of the image's area that is kept.
    crop_ratio: smallest and largest width / height of the crop.
    flip: probability of a horizontal flip.
    color_jitter: strengths x of brightness, contrast and saturation, each a
      factor drawn from U(max(0, 1 - x), 1 + x), in random order.
    rand_augment: changes of images, in place of colour jitter.
    view_augment: changes that tell views apart, in place of colour jitter.
    views: 1, or 2 views of each image, made independently, for BYOL.
    labels: example -> label, where it has one.

  Raises:
    ValueError: an argument is outside its range, or two exclude each other.

  Source: data2vec (arXiv 2202.03555) section 4.1, with the settings of its
  code and torchvision's meaning of each. The reference jitters first, then
  flips and crops. We crop first, which leaves several times fewer pixels to
  touch: crop and flip commute with changes of single pixels, and contrast still
  turns about the mean of the whole image, so only rounding and clipping before
  instead of after the resizing differ. Resizing: see `resize`. RandAugment
  comes after crop and flip, as in fine-tuning by the reference.
  """

  image_size: int
  patch_size: int
  mask: Mask | None = None
  crop_scale: tuple[float, float] | None = (0.08, 1.0)
  crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
  flip: float = 0.5
  color_jitter: tuple[float, float, float] | None = (0.4, 0.4, 0.4)
  rand_augment: RandAugment | None = None
  view_augment: ViewAugment | None = None
  views: int = 1
  labels: Labels = dataclasses.field(default_factory=RecordLabel)

  def __post_init__(self) -> None:
    _check_size("ImageTrainTransform", self.image_size)
    if self.patch_size < 1 or self.image_size % self.patch_size:
      raise ValueError(
        f"ImageTrainTransform: image_size={self.image_size} is not a multiple "
        f"of patch_size={self.patch_size}; change one of them"
      )
    if self.mask is not None:
      self.mask.check(self.grid)
    if self.crop_scale is not None:
      _check_pair("crop_scale", self.crop_scale, 1.0)
    _check_pair("crop_ratio", self.crop_ratio, 1000.0)
    if not 0 <= self.flip <= 1:
      raise ValueError(
        f"ImageTrainTransform: flip is a probability, 0 to 1, got {self.flip}"
      )
    jitter = self.color_jitter
    if jitter is not None and (
      len(jitter) != 3 or not all(0 <= x < math.inf for x in jitter)
    ):
      raise ValueError(
        "ImageTrainTransform: color_jitter must be None or three strengths >= "
        f"0 (brightness, contrast, saturation), got {jitter}"
      )
    for name in ("rand_augment", "view_augment"):
      if jitter is not None and getattr(self, name) is not None:
        raise ValueError(
          f"ImageTrainTransform: color_jitter is {jitter}, but {name} changes "
          "colours itself; set one of them to None"
        )
    if self.rand_augment is not None and self.view_augment is not None:
      raise ValueError(
        "ImageTrainTransform: rand_augment and view_augment both change "
        "colours; set one of them to None"
      )
    if self.views not in (1, 2):
      raise ValueError(
        f"ImageTrainTransform: views must be 1 or 2, got {self.views}"
      )

  @property
  def grid(self) -> tuple[int, int]:
    """Patches per column and per row."""
    side = self.image_size // self.patch_size
    return side, side

  def __call__(self, example: Example, rng: np.random.Generator) -> Example:
    """Augments one image.

    Args:
      example: 'image' uint8 [H, W, C]; 'label', 'requested' and 'record' are
        handed on, the label only when no mask is drawn and with one view.
      rng: the only source of randomness.

    Returns:
      'inputs' uint8 [S, S, C]; 'inputs_b' like it, the second view; 'mask' bool
      [N], True = hidden, in row-major order, or of M masks [M, N], and with
      them 'keep_ids' int32 [M, V], the visible patches; and what is handed on.
    """
    image = example["image"]
    out: Example = {
      name: self._view(image, rng, view)
      for view, name in enumerate(("inputs", "inputs_b")[: self.views])
    }
    if self.mask is not None:
      out |= self.mask(rng, {"grid": self.grid})
    elif "label" in example and self.views == 1:
      out["label"] = self.labels(example)
    return out | {k: example[k] for k in ("requested", "record")}

  def kept(self, example: Example, rng: np.random.Generator) -> float:
    """Returns the share of an image that a view shows, for one draw."""
    _, _, height, width = self._box(example["image"], rng)
    rows, columns = example["image"].shape[:2]
    return height * width / (rows * columns)

  def _box(
    self, whole: np.ndarray, rng: np.random.Generator
  ) -> tuple[int, int, int, int]:
    """Returns top, left, height and width of what is cut out."""
    if self.crop_scale is None:
      return 0, 0, *whole.shape[:2]
    return crop_box(rng, whole.shape[:2], self.crop_scale, self.crop_ratio)

  def _view(
    self, whole: np.ndarray, rng: np.random.Generator, view: int
  ) -> np.ndarray:
    """Returns one augmented image, uint8 [S, S, C]."""
    top, left, height, width = self._box(whole, rng)
    crop = whole[top : top + height, left : left + width]
    image = resize(crop, (self.image_size, self.image_size))
    if rng.random() < self.flip:
      image = image[:, ::-1]
    if self.color_jitter is not None:
      mean = colors.mean(whole)
      image = colors.jitter(rng, image, self.color_jitter, mean)
    image = np.ascontiguousarray(image)
    if self.rand_augment is not None:
      image = self.rand_augment(image, rng)
    if self.view_augment is not None:
      image = self.view_augment(image, rng, view)
    return image


@dataclasses.dataclass(frozen=True)
class ImageEvalTransform:
  """The centre of an image, the same each time.

  Args:
    image_size: side S of the result, in pixels.
    resize_ratio: the shorter side is first made round(S * resize_ratio) long,
      then the central square is cut out; None: the image is resized to the
      square as a whole.
    resampling: what it is resized with, see `resample`. With all but 'area' a
      centre between two pixels is rounded as by the libraries whose filters
      these are, towards the top left; else as torchvision does.
    labels: example -> label, where it has one.
    keep_aspect: False: both sides are first made round(S * resize_ratio) long.

  Raises:
    ValueError: an argument is outside its range.

  Source: 256 / 224 is the usual evaluation on ImageNet, and the reference's.
  """

  image_size: int
  resize_ratio: float | None = RESIZE_RATIO
  resampling: Resampling = "area"
  labels: Labels = dataclasses.field(default_factory=RecordLabel)
  keep_aspect: bool = True

  def __post_init__(self) -> None:
    _check_size("ImageEvalTransform", self.image_size)
    if self.resize_ratio is not None and not 1 <= self.resize_ratio <= 10:
      raise ValueError(
        "ImageEvalTransform: resize_ratio must be None or 1 to 10, "
        f"got {self.resize_ratio}"
      )

  def __call__(self, example: Example) -> Example:
    """Prepares one image.

    Args:
      example: 'image' uint8 [H, W, C], and 'label' if there is one.

    Returns:
      'inputs' uint8 [S, S, C], and 'label' if there is one.
    """
    image, size = example["image"], self.image_size
    if self.resize_ratio is not None:
      short = round(size * self.resize_ratio)
      scale = short / min(image.shape[:2])
      # torchvision cuts the longer side to whole pixels; guard against 299.99.
      longer = max(short, int(max(image.shape[:2]) * scale + 1e-6))
      wide = image.shape[1] >= image.shape[0]
      shape = (short, longer) if wide else (longer, short)
      if not self.keep_aspect:
        shape = (short, short)
      image = resample(image, shape, self.resampling)
      spare = [side - size for side in shape]
      if self.resampling == "area":
        top, left = (round(n / 2) for n in spare)
      else:
        top, left = (n // 2 for n in spare)
      image = image[top : top + size, left : left + size]
    image = resample(image, (size, size), self.resampling)
    out: Example = {"inputs": np.ascontiguousarray(image)}
    if "label" in example:
      out["label"] = self.labels(example)
    return out


def _check_pair(name: str, pair: tuple[float, float], most: float) -> None:
  if len(pair) != 2 or not 0 < pair[0] <= pair[1] <= most:
    raise ValueError(
      f"ImageTrainTransform: {name} must be (low, high) with 0 < low <= high "
      f"<= {most:g}, got {pair}"
    )


def _check_size(name: str, image_size: int) -> None:
  check_range(name, "image_size", image_size, 1, _LARGEST)
