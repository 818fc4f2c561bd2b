"""Changes of an image's colours with OpenCV; uint8 in and out."""

import cv2
import numpy as np

_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601, as PIL uses


def jitter(
  rng: np.random.Generator,
  image: np.ndarray,
  strengths: tuple[float, float, float],
  centre: np.ndarray,
) -> np.ndarray:
  """Scales brightness, contrast and saturation in random order.

  Args:
    rng: the only source of randomness.
    image: uint8 [H, W, C], C 1 or 3.
    strengths: x of brightness, contrast, saturation; factors are
      U(max(0, 1 - x), 1 + x).
    centre: [C], the colour whose luma contrast turns about: the mean of the
      image which `image` was cut from.

  Returns:
    uint8 [H, W, C].
  """
  for step in rng.permutation(3):
    x = strengths[step]
    factor = rng.uniform(max(0.0, 1 - x), 1 + x)
    image, centre = scale(image, step, factor, centre)
  return image


def scale(
  image: np.ndarray, step: int, factor: float, centre: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Scales one property of all colours.

  Args:
    image: uint8 [H, W, C], C 1 or 3. Grey images have no saturation.
    step: 0 for brightness, 1 for contrast, 2 for saturation.
    factor: 0 leaves black, grey, or the luma; 1 changes nothing.
    centre: [C], the colour whose luma contrast turns about.

  Returns:
    The image, uint8 [H, W, C], and what becomes of `centre`, [C].
  """
  channels = image.shape[2]
  luma = _LUMA if channels == 3 else np.ones(1)
  # Each step is a linear map of the colour and an offset, then clipped.
  matrix, offset = np.eye(channels) * factor, np.zeros(channels)
  if step == 1:
    offset += (1 - factor) * (luma @ centre)
  elif step == 2:
    matrix += (1 - factor) * luma
  centre = np.clip(matrix @ centre + offset, 0, 255)
  image = cv2.transform(image, np.column_stack([matrix, offset]))
  return image.reshape(*image.shape[:2], channels), centre


def shift_hue(image: np.ndarray, turns: float) -> np.ndarray:
  """Turns the colour circle; grey stays.

  Args:
    image: uint8 [H, W, C], C 1 or 3. Grey images stay as they are.
    turns: 1 / 3 makes green of red.

  Returns:
    uint8 [H, W, C].
  """
  if image.shape[2] == 1:
    return image
  hsv = cv2.cvtColor(image.astype(np.float32), cv2.COLOR_RGB2HSV)
  hsv[..., 0] = (hsv[..., 0] + 360 * turns) % 360
  shifted = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
  return np.clip(np.rint(shifted), 0, 255).astype(np.uint8)


def mean(image: np.ndarray) -> np.ndarray:
  """Returns the mean colour, [C], of an image [H, W, C]."""
  return np.array(cv2.mean(image)[: image.shape[2]])
