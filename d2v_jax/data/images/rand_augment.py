"""RandAugment with NumPy and OpenCV; uint8 in and out."""

import dataclasses
import math
from collections.abc import Callable

import cv2
import numpy as np

from d2v_jax.data.ranges import check_range

_PROBABILITY = 0.5
_LARGEST = 10
_MOST_LAYERS = 100
# Weights of red, green and blue in grey, in 65536ths, as Pillow has them.
_LUMA = np.array([19595, 38470, 7471], np.int32)
_SMOOTH = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], np.float32)


@dataclasses.dataclass(frozen=True)
class RandAugment:
  """Changes an image by operations drawn at random.

  Each of `layers` times one of the 15 `OPERATIONS` is drawn, with replacement,
  and applied with probability 0.5, to a strength drawn from
  N(magnitude, std), clipped to 0..10; where that has a sign, a random one.

  Args:
    magnitude: mean strength, 0 to 10.
    std: standard deviation of the strength.
    layers: number of draws.
    fill: red, green and blue, or one level, 0 to 255, of what comes into the
      picture from outside. The default is ImageNet's mean.

  Raises:
    ValueError: an argument is outside its range.

  Source: Cubuk et al. 2019 (arXiv 1909.13719), as the policy
  `rand-m9-mstd0.5-inc1` of timm (Wightman) changes it, by which the released
  vision code fine-tunes: strengths are random, and every operation does more
  with more strength. Each is that of Pillow, but for OpenCV's bicubic
  interpolation, which is a little softer. (timm's default is to draw bilinear
  or bicubic; the released code sets bicubic.)
  """

  magnitude: float = 9.0
  std: float = 0.5
  layers: int = 2
  fill: tuple[int, ...] = (124, 116, 104)

  def __post_init__(self):
    for name, least, most in (
      ("magnitude", 0, _LARGEST),
      ("std", 0, _LARGEST),
      ("layers", 1, _MOST_LAYERS),
    ):
      check_range("RandAugment", name, getattr(self, name), least, most)
    if len(self.fill) not in (1, 3) or not all(
      0 <= x <= 255 for x in self.fill
    ):
      raise ValueError(
        "RandAugment: fill must be one or three levels, 0 to 255, got "
        f"{self.fill}"
      )

  def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Changes one image.

    Args:
      image: uint8 [H, W, C], C 1 or 3. Grey images have no colour to change.
      rng: the only source of randomness.

    Returns:
      uint8 [H, W, C].
    """
    fill = np.array(self.fill)
    if image.shape[2] == 1 < len(fill):
      fill = _grey(fill)[None]
    names = tuple(OPERATIONS)
    for _ in range(self.layers):
      name = names[rng.integers(len(names))]
      if rng.random() >= _PROBABILITY:
        continue
      strength = min(max(rng.normal(self.magnitude, self.std), 0.0), _LARGEST)
      if name in SIGNED and rng.random() < 0.5:
        strength = -strength
      image = OPERATIONS[name](image, strength / _LARGEST, fill)
    return image


def _auto_contrast(image):
  """Stretches each channel to 0..255."""

  def table(counts):
    low, high = np.flatnonzero(counts)[[0, -1]]
    if low == high:
      return np.arange(256)
    scale = 255.0 / (high - low)
    return (np.arange(256) * scale - low * scale).astype(int)

  return _map_channels(image, table)


def _equalize(image):
  """Makes each channel's levels about equally frequent."""

  def table(counts):
    # Pixels of the highest level do not count, so that it stays the highest.
    step = (counts.sum() - counts[counts > 0][-1]) // 255
    if not step:
      return np.arange(256)
    below = np.cumsum(counts) - counts
    return (step // 2 + below) // step

  return _map_channels(image, table)


def _posterize(image, bits):
  """Keeps the highest bits, 0 to 4; 0 leaves a black image."""
  return image & np.uint8(256 - 2 ** (8 - bits))


def _solarize(image, threshold):
  """Inverts what is not below the threshold."""
  levels = np.arange(256)
  return _map(image, np.where(levels < threshold, levels, 255 - levels))


def _solarize_add(image, addition):
  """Brightens the darker half of the levels."""
  levels = np.arange(256)
  return _map(image, np.where(levels < 128, levels + addition, levels))


def _color(image, factor):
  if image.shape[2] == 1:
    return image
  return _blend(_grey(image)[..., None], image, factor)


def _contrast(image, factor):
  grey = _grey(image) if image.shape[2] == 3 else image
  middle = np.full(256, int(grey.mean() + 0.5))
  return _map(image, _blend(middle, np.arange(256), factor))


def _brightness(image, factor):
  return _map(image, _blend(np.zeros(256), np.arange(256), factor))


def _sharpness(image, factor):
  smooth = image.copy()  # the outermost pixels stay
  sums = cv2.filter2D(image, cv2.CV_32F, _SMOOTH).reshape(image.shape)
  smooth[1:-1, 1:-1] = np.rint(sums / 13)[1:-1, 1:-1]
  return _blend(smooth, image, factor)


def _affine(image, fill, a=1.0, b=0.0, c=0.0, d=0.0, e=1.0, f=0.0):
  """Takes what is at (x, y) from (ax + by + c, dx + ey + f).

  Source: Pillow's rule: coordinates of pixels are those of their centres, and
  what is taken from outside the image is filled, while interpolation at its
  edges repeats them.
  """
  height, width = image.shape[:2]
  x, y = np.arange(width) + 0.5, np.arange(height)[:, None] + 0.5
  u, v = a * x + b * y + c, d * x + e * y + f
  # OpenCV counts from the centre of the first pixel.
  matrix = [[a, b, u[0, 0] - 0.5], [d, e, v[0, 0] - 0.5]]
  out = cv2.warpAffine(
    image,
    np.array(matrix),
    (width, height),
    flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
    borderMode=cv2.BORDER_REPLICATE,
  ).reshape(image.shape)
  out[(u < 0) | (u >= width) | (v < 0) | (v >= height)] = fill
  return out


def _rotate(image, fill, degrees):
  """Turns about the centre, counter-clockwise."""
  cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
  x, y = image.shape[1] / 2, image.shape[0] / 2
  c, f = x - cos * x + sin * y, y - sin * x - cos * y
  return _affine(image, fill, cos, -sin, c, sin, cos, f)


def _map(image, table):
  return np.clip(table, 0, 255).astype(np.uint8)[image]


def _map_channels(image, table):
  """Maps each channel by the table that is made of its 256 counts."""
  channels = [
    _map(x, table(np.bincount(x.reshape(-1), minlength=256)))
    for x in np.moveaxis(image, 2, 0)
  ]
  return np.stack(channels, 2)


def _blend(start, image, factor):
  """Goes from `start` at factor 0 by `image` at 1, cutting off fractions."""
  start = start.astype(np.float32)
  mixed = start + np.float32(factor) * (image.astype(np.float32) - start)
  return np.clip(mixed, 0, 255).astype(np.uint8)


def _grey(colors):
  """Levels of colours [..., 3]."""
  return (colors.astype(np.int32) @ _LUMA + 2**15) >> 16


# Name -> (image, strength, fill) -> image; the strength is 0 to 1, and -1 to 1
# for the names of SIGNED.
OPERATIONS: dict[str, Callable[[np.ndarray, float, np.ndarray], np.ndarray]] = {
  "auto_contrast": lambda image, s, fill: _auto_contrast(image),
  "equalize": lambda image, s, fill: _equalize(image),
  "invert": lambda image, s, fill: 255 - image,
  "rotate": lambda image, s, fill: _rotate(image, fill, 30 * s),
  "posterize": lambda image, s, fill: _posterize(image, 4 - int(4 * s)),
  "solarize": lambda image, s, fill: _solarize(image, 256 - int(256 * s)),
  "solarize_add": lambda image, s, fill: _solarize_add(image, int(110 * s)),
  "color": lambda image, s, fill: _color(image, 1 + 0.9 * s),
  "contrast": lambda image, s, fill: _contrast(image, 1 + 0.9 * s),
  "brightness": lambda image, s, fill: _brightness(image, 1 + 0.9 * s),
  "sharpness": lambda image, s, fill: _sharpness(image, 1 + 0.9 * s),
  "shear_x": lambda image, s, fill: _affine(image, fill, b=0.3 * s),
  "shear_y": lambda image, s, fill: _affine(image, fill, d=0.3 * s),
  "translate_x": lambda image, s, fill: _affine(
    image, fill, c=0.45 * s * image.shape[1]
  ),
  "translate_y": lambda image, s, fill: _affine(
    image, fill, f=0.45 * s * image.shape[0]
  ),
}
SIGNED = frozenset(
  {
    *("rotate", "color", "contrast", "brightness", "sharpness"),
    *("shear_x", "shear_y", "translate_x", "translate_y"),
  }
)
