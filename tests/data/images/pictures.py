"""Images that tests make, and files of them."""

import io

import cv2
import numpy as np
from PIL import Image


def smooth(height=40, width=60, channels=3, seed=0):
  rng = np.random.default_rng(seed)
  coarse = rng.integers(0, 256, (5, 7, channels), dtype=np.uint8)
  image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
  return image.reshape(height, width, channels)


def encoded(image, kind, **options):
  """Encodes with Pillow, which none of our decoding uses."""
  if not isinstance(image, Image.Image):
    image = Image.fromarray(image)
  buffer = io.BytesIO()
  image.save(buffer, kind, **options)
  return buffer.getvalue()


def picture(height=120, width=160, channels=3, seed=0):
  """A smooth random picture."""
  rng = np.random.default_rng(seed)
  coarse = rng.integers(30, 226, (6, 8, channels), dtype=np.uint8)
  image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
  return image.reshape(height, width, channels)


def noise(channels=3, shape=(40, 56)):
  """Random levels that do not reach all of 0..255."""
  rng = np.random.default_rng(0)
  high = 180 + 20 * np.arange(channels)
  return rng.integers(30, high, (*shape, channels), dtype=np.uint8)


def blurred(channels=3):
  """A random picture without hard edges."""
  coarse = noise(channels, (5, 7))
  image = cv2.resize(coarse, (112, 80), interpolation=cv2.INTER_CUBIC)
  return image.reshape(80, 112, channels)
