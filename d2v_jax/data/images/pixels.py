"""Pixels as they are stored to the uint8 pixels of the pipeline."""

import dataclasses

import cv2
import numpy as np

from d2v_jax.data.files.unreadable import Unreadable
from d2v_jax.data.ranges import check_range

MAX_PIXELS = 100_000_000
MAX_CHANNELS = 1024

# Orientation of EXIF -> the image as it is to be seen.
_TURNS = {
  2: lambda x: x[:, ::-1],
  3: lambda x: x[::-1, ::-1],
  4: lambda x: x[::-1],
  5: lambda x: x.swapaxes(0, 1),
  6: lambda x: x.swapaxes(0, 1)[:, ::-1],
  7: lambda x: x[::-1, ::-1].swapaxes(0, 1),
  8: lambda x: x.swapaxes(0, 1)[::-1],
}


@dataclasses.dataclass(frozen=True)
class Form:
  """What images are brought to; what does not fit is refused, never cut.

  Args:
    channels: 1 (grey), 3 (RGB) or another number of them, such as the bands of
      a satellite, as they are stored. Grey and RGB are made of each other.
    range: the values that become 0 and 255; those between are scaled in
      proportion and rounded, those outside are set to the nearer end. None:
      images have 8 bits, which are kept as they are.
    background: grey level, 0 to 255, on which a transparent image is laid; None
      refuses it unless it is opaque everywhere.
    max_pixels: more of them in an image are refused before they are decoded.

  Raises:
    ValueError: an argument is outside its range.
  """

  channels: int = 3
  range: tuple[float, float] | None = None
  background: int | None = None
  max_pixels: int = MAX_PIXELS

  def __post_init__(self) -> None:
    check_range("images", "channels", self.channels, 1, MAX_CHANNELS)
    if self.range is not None and (
      len(self.range) != 2
      or not -np.inf < self.range[0] < self.range[1] < np.inf
    ):
      raise ValueError(
        "range must be the two values that become 0 and 255, such as (0, "
        f"4095), got {self.range}"
      )
    if self.background is not None:
      check_range("images", "background", self.background, 0, 255)
    check_range("images", "max_pixels", self.max_pixels, 1, 2**30)

  @property
  def has_colors(self) -> bool:
    """Whether channels are grey or RGB, and nothing else."""
    return self.channels in (1, 3)

  def check_size(self, width: int, height: int) -> None:
    """Raises Unreadable for an image of too many pixels, or of none."""
    if width < 1 or height < 1:
      raise Unreadable(
        f"damaged: it says that it has {width} x {height} pixels"
      )
    if width * height > self.max_pixels:
      raise Unreadable(
        f"{width} x {height} pixels are more than max_pixels={self.max_pixels};"
        " set config.data.max_pixels if so many are meant"
      )

  def apply(self, image: np.ndarray) -> np.ndarray:
    """Returns an image in this form.

    Args:
      image: numbers [H, W, C], C 1 (grey), 2 (with alpha), 3 (RGB), 4 (with
        alpha, or another fourth channel) or more.

    Returns:
      uint8 [H, W, channels].

    Raises:
      Unreadable: it does not fit.
    """
    stored = image.shape[2]
    alpha = None
    as_stored = not self.has_colors or stored > 4
    if as_stored and stored != self.channels:
      raise Unreadable(
        f"{stored} channels, not {self.channels} as config.data.channels="
        f"{self.channels} says"
      )
    if stored in (2, 4) and not as_stored:
      image, alpha = image[..., :-1], image[..., -1:]
    image = self._scaled(image)
    if alpha is not None:
      image = self._laid(image, alpha, stored)
    if image.shape[2] == self.channels:
      return np.ascontiguousarray(image)
    if self.channels == 3:
      return np.repeat(image, 3, axis=2)
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None]

  def _scaled(self, image: np.ndarray) -> np.ndarray:
    if self.range is None:
      if image.dtype == np.uint8:
        return np.ascontiguousarray(image)
      raise Unreadable(
        f"its values are {image.dtype}, here {image.min():g} to "
        f"{image.max():g}, not 8 bits; set config.data.range to the two values "
        "that become black and white, such as (0, 65535)"
      )
    low, high = self.range
    if not np.isfinite(image).all():
      raise Unreadable("its values are not all finite")
    share = (image.astype(np.float64) - low) / (high - low)
    return np.rint(np.clip(share, 0, 1) * 255).astype(np.uint8)

  def _laid(
    self, image: np.ndarray, alpha: np.ndarray, stored: int
  ) -> np.ndarray:
    whole = np.iinfo(alpha.dtype).max if alpha.dtype.kind in "iu" else 1.0
    if (alpha == whole).all():
      return image
    if self.background is None:
      raise Unreadable(
        f"it is transparent, or channel {stored} is no alpha; set config.data."
        "background=255 to lay it on white, 0 on black"
        + (", or channels=4 to read all four" if stored == 4 else "")
      )
    share = np.clip(alpha / whole, 0, 1)
    mixed = image * share + self.background * (1 - share)
    return np.rint(mixed).astype(np.uint8)


def turned(image: np.ndarray, orientation: int) -> np.ndarray:
  """Returns an image [H, W, C] as its EXIF orientation, 1 to 8, says."""
  turn = _TURNS.get(orientation)
  return image if turn is None else np.ascontiguousarray(turn(image))
