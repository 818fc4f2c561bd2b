"""Draws images, and spectrograms as images of time and frequency."""

import dataclasses

import cv2
import numpy as np

from d2v_jax.data.layout import ImageInputs
from d2v_jax.report.markup import Element
from d2v_jax.report.pictures import cells
from d2v_jax.report.pictures.drawer import Row


@dataclasses.dataclass(frozen=True)
class ImageDrawer:
  """Draws images of any number of channels, of which others than 1 and 3 are
  shown by their first.

  Args:
    inputs: what the network takes.
  """

  inputs: ImageInputs

  def tokens(self, row: Row) -> int:
    """See `Drawer`."""
    if "padding" in row:  # of a spectrogram
      return int((~row["padding"]).sum())
    return self.inputs.num_tokens

  def plain(self, row: Row) -> Element:
    """See `Drawer`."""
    return cells.drawn(self._pixels(row), "an image")

  def hidden(self, row: Row, mask: np.ndarray) -> Element:
    """See `Drawer`."""
    told = f"{mask.sum()} of {mask.size} patches are hidden"
    return cells.drawn(self._pixels(row), told, self._laid_out(mask))

  def coloured(self, row: Row, colours: np.ndarray) -> Element:
    """See `Drawer`."""
    del row  # the map stands beside the image
    return cells.drawn(self._laid_out(colours), "a colour for each patch")

  def marked(self, row: Row, token: int) -> Element:
    """See `Drawer`."""
    place = np.zeros(self.inputs.num_tokens, bool)
    place[token] = True
    ((r, c),) = np.argwhere(self._laid_out(place)).tolist()
    nothing = np.zeros(self._laid_out(place).shape, bool)
    told = f"an image with a frame in row {r + 1}, column {c + 1}"
    return cells.drawn(self._pixels(row), told, nothing, (r, c))

  def _laid_out(self, tokens: np.ndarray) -> np.ndarray:
    """[N, ...] where tokens are in the picture, [R, C, ...]."""
    return tokens.reshape(*self.inputs.grid, *tokens.shape[1:])

  def _pixels(self, row: Row) -> np.ndarray:
    image = row["inputs"]
    return image if image.shape[-1] == 3 else image[..., 0]


class SpectrogramDrawer(ImageDrawer):
  """Draws log-mel frames: time to the right, low bands below."""

  def plain(self, row: Row) -> Element:
    """See `Drawer`."""
    return cells.drawn(self._pixels(row), "a spectrogram, time to the right")

  def _laid_out(self, tokens: np.ndarray) -> np.ndarray:
    return _turned(super()._laid_out(tokens))

  def _pixels(self, row: Row) -> np.ndarray:
    values = _turned(row["inputs"][..., 0])
    low, high = np.percentile(values, (1, 99))
    shares = np.clip((values - low) / max(high - low, 1e-6), 0, 1)
    grey = np.round(255 * shares).astype(np.uint8)
    return cv2.applyColorMap(grey, cv2.COLORMAP_VIRIDIS)[..., ::-1]


def _turned(values: np.ndarray) -> np.ndarray:
  """[time, bands, ...] as [bands from above, time, ...]."""
  return np.swapaxes(values, 0, 1)[::-1]
