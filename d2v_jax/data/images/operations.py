"""Operations on images as Pillow has them, with NumPy and OpenCV.

Images are uint8 [H, W, C], C 1 or 3, in and out.
"""

import math
from collections.abc import Callable

import cv2
import numpy as np

# Weights of red, green and blue in grey, in 65536ths, as Pillow has them.
_LUMA = np.array([19595, 38470, 7471], np.int32)
_SMOOTH = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], np.float32)


def grey_levels(colors: np.ndarray) -> np.ndarray:
  """Returns the levels, int32 [...], of colours [..., 3]."""
  return (colors.astype(np.int32) @ _LUMA + 2**15) >> 16


def _auto_contrast(image: np.ndarray) -> np.ndarray:
  """Stretches each channel to 0..255."""

  def table(counts: np.ndarray) -> np.ndarray:
    low, high = np.flatnonzero(counts)[[0, -1]]
    if low == high:
      return np.arange(256)
    scale = 255.0 / (high - low)
    return (np.arange(256) * scale - low * scale).astype(int)

  return _map_channels(image, table)


def _equalize(image: np.ndarray) -> np.ndarray:
  """Makes each channel's levels about equally frequent."""

  def table(counts: np.ndarray) -> np.ndarray:
    # Pixels of the highest level do not count, so that it stays the highest.
    step = (counts.sum() - counts[counts > 0][-1]) // 255
    if not step:
      return np.arange(256)
    below = np.cumsum(counts) - counts
    return (step // 2 + below) // step

  return _map_channels(image, table)


def _posterize(image: np.ndarray, bits: int) -> np.ndarray:
  """Keeps the highest bits, 0 to 4; 0 leaves a black image."""
  return image & np.uint8(256 - 2 ** (8 - bits))


def _solarize(image: np.ndarray, threshold: int) -> np.ndarray:
  """Inverts what is not below the threshold."""
  levels = np.arange(256)
  return _map(image, np.where(levels < threshold, levels, 255 - levels))


def _solarize_add(image: np.ndarray, addition: int) -> np.ndarray:
  """Brightens the darker half of the levels."""
  levels = np.arange(256)
  return _map(image, np.where(levels < 128, levels + addition, levels))


def _color(image: np.ndarray, factor: float) -> np.ndarray:
  if image.shape[2] == 1:
    return image
  return _blend(grey_levels(image)[..., None], image, factor)


def _contrast(image: np.ndarray, factor: float) -> np.ndarray:
  grey = grey_levels(image) if image.shape[2] == 3 else image
  middle = np.full(256, int(grey.mean() + 0.5))
  return _map(image, _blend(middle, np.arange(256), factor))


def _brightness(image: np.ndarray, factor: float) -> np.ndarray:
  return _map(image, _blend(np.zeros(256), np.arange(256), factor))


def _sharpness(image: np.ndarray, factor: float) -> np.ndarray:
  smooth = image.copy()  # the outermost pixels stay
  sums = cv2.filter2D(image, cv2.CV_32F, _SMOOTH).reshape(image.shape)
  smooth[1:-1, 1:-1] = np.rint(sums / 13)[1:-1, 1:-1]
  return _blend(smooth, image, factor)


def _affine(
  image: np.ndarray,
  fill: np.ndarray,
  a: float = 1.0,
  b: float = 0.0,
  c: float = 0.0,
  d: float = 0.0,
  e: float = 1.0,
  f: float = 0.0,
) -> np.ndarray:
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


def _rotate(image: np.ndarray, fill: np.ndarray, degrees: float) -> np.ndarray:
  """Turns about the centre, counter-clockwise."""
  cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
  x, y = image.shape[1] / 2, image.shape[0] / 2
  c, f = x - cos * x + sin * y, y - sin * x - cos * y
  return _affine(image, fill, cos, -sin, c, sin, cos, f)


def _map(image: np.ndarray, table: np.ndarray) -> np.ndarray:
  return np.clip(table, 0, 255).astype(np.uint8)[image]


def _map_channels(
  image: np.ndarray, table: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
  """Maps each channel by the table that is made of its 256 counts."""
  channels = [
    _map(x, table(np.bincount(x.reshape(-1), minlength=256)))
    for x in np.moveaxis(image, 2, 0)
  ]
  return np.stack(channels, 2)


def _blend(start: np.ndarray, image: np.ndarray, factor: float) -> np.ndarray:
  """Goes from `start` at factor 0 by `image` at 1, cutting off fractions."""
  start = start.astype(np.float32)
  mixed = start + np.float32(factor) * (image.astype(np.float32) - start)
  return np.clip(mixed, 0, 255).astype(np.uint8)


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
