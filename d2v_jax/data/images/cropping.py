"""Which piece of an image is cut out, and how it is resized."""

import math
from typing import Literal

import cv2
import numpy as np
from PIL import Image

_ATTEMPTS = 10
_AT_ONCE = 4  # channels that OpenCV resizes

# 'area' is `resize`; the others are Pillow's antialiased filters.
Resampling = Literal[
  "area", "nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"
]

# The pipeline's own threads keep the cores busy; OpenCV's would get in the way.
cv2.setNumThreads(1)


def crop_box(
  rng: np.random.Generator,
  shape: tuple[int, int],
  scale: tuple[float, float],
  ratio: tuple[float, float],
) -> tuple[int, int, int, int]:
  """Draws the box of a random resized crop, with torchvision's rule.

  Args:
    rng: the only source of randomness.
    shape: height and width of the image, in pixels.
    scale: smallest and largest share of the area.
    ratio: smallest and largest width / height, drawn log-uniformly.

  Returns:
    Top, left, height, width, in pixels. When ten boxes did not fit: the largest
    central box of an allowed ratio.
  """
  rows, cols = shape
  log_ratio = (math.log(ratio[0]), math.log(ratio[1]))
  for _ in range(_ATTEMPTS):
    area = rows * cols * rng.uniform(*scale)
    aspect = math.exp(rng.uniform(*log_ratio))
    width = round(math.sqrt(area * aspect))
    height = round(math.sqrt(area / aspect))
    if 0 < width <= cols and 0 < height <= rows:
      top = int(rng.integers(0, rows - height + 1))
      left = int(rng.integers(0, cols - width + 1))
      return top, left, height, width
  width = min(cols, max(1, round(rows * ratio[1])))
  height = min(rows, max(1, round(cols / ratio[0])))
  return (rows - height) // 2, (cols - width) // 2, height, width


def resize(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
  """Resizes an image, without aliasing; the same size comes back as it is.

  Args:
    image: uint8 [H, W, C].
    shape: height and width of the result, in pixels.

  Returns:
    uint8 [*shape, C].

  Source: the reference uses Pillow's antialiased bicubic filter. We average
  over areas when neither side grows, which removes aliasing too, and use
  bicubic interpolation otherwise. Photographs shrunk to 224 x 224 differ by one
  level of 255 on average, and it is about twice as fast (measured by
  benchmarks/input_pipeline.py).
  """
  if image.shape[:2] == tuple(shape):
    return image
  rows, cols = shape
  shrinks = rows <= image.shape[0] and cols <= image.shape[1]
  method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
  parts = [
    # OpenCV drops C = 1.
    cv2.resize(part, (cols, rows), interpolation=method).reshape(rows, cols, -1)
    for part in np.split(image, range(_AT_ONCE, image.shape[2], _AT_ONCE), 2)
  ]
  return parts[0] if len(parts) == 1 else np.concatenate(parts, 2)


def resample(
  image: np.ndarray, shape: tuple[int, int], resampling: Resampling
) -> np.ndarray:
  """Resizes an image with the filter of a name.

  Args:
    image: uint8 [H, W, C].
    shape: height and width of the result, in pixels.
    resampling: 'area' is what `resize` does; others are Pillow's filters, bit
      for bit, which other libraries prepare images with.

  Returns:
    uint8 [*shape, C].
  """
  if resampling == "area" or image.shape[:2] == tuple(shape):
    return resize(image, shape)
  rows, cols = shape
  kind = Image.Resampling[resampling.upper()]
  # Channel by channel: each is filtered by itself, however many there are.
  parts = [
    np.asarray(Image.fromarray(channel).resize((cols, rows), kind))
    for channel in np.ascontiguousarray(image.transpose(2, 0, 1))
  ]
  return np.stack(parts, axis=2)
