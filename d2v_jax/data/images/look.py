"""What is seen of one image when data are checked."""

import io
from typing import Any

import numpy as np
import simplejpeg
from PIL import BmpImagePlugin, GifImagePlugin, WebPImagePlugin

from d2v_jax.data.checking.look import Look, digest
from d2v_jax.data.images import decoding, markers, tiff
from d2v_jax.data.images.pixels import Form
from d2v_jax.data.source import Record

_DARK = 16  # of 255
_SPARE = 0.001  # share of the values of a near-black image that is brighter
_CHANNELS = {1: "grey", 2: "grey, alpha", 3: "RGB", 4: "4"}
_JPEG_CHANNELS = {"Gray": "grey", "YCbCr": "RGB", "YCCK": "CMYK"}
_PNG_CHANNELS = {
  0: "grey",
  2: "RGB",
  3: "palette",
  4: "grey, alpha",
  6: "RGB, alpha",
}
_MODES = {
  "1": "grey",
  "L": "grey",
  "LA": "grey, alpha",
  "P": "palette",
  "RGBA": "RGB, alpha",
  "RGBX": "RGB",
}
_BY_PILLOW: dict[bytes, Any] = {
  b"RIFF": WebPImagePlugin.WebPImageFile,
  b"GIF8": GifImagePlugin.GifImageFile,
  b"BM": BmpImagePlugin.BmpImageFile,
}


def look(record: Record, form: Form) -> Look:
  """Looks at an image as training sees it before it is cropped.

  The digest is of the pixels, so that the same picture in another file or of
  another format is found, if nothing was lost. Near-black is an image of which
  at most a thousandth of the values are above 16 of 255.

  Args:
    record: 'image' uint8 [H, W, C] or encoded bytes.
    form: what images are brought to.

  Raises:
    Unreadable: it cannot be decoded.
  """
  image = decoding.decode(record["image"], form=form)
  height, width, _ = image.shape
  return Look(
    digest=digest([image]),
    numbers={"width, pixels": width, "height, pixels": height},
    kinds=stored_as(record["image"]),
    moments=_moments(image),
    oddity=_oddity(image),
  )


def stored_as(data: bytes | np.ndarray) -> dict[str, str]:
  """Returns format, channels and depth of an image, as its header says.

  Args:
    data: an image that can be decoded.
  """
  if isinstance(data, np.ndarray):
    count = data.shape[2]
    names = "array", _CHANNELS.get(count, str(count)), str(data.dtype)
  elif data.startswith(b"\xff\xd8"):
    whole = markers.whole_jpeg(data)
    space = simplejpeg.decode_jpeg_header(whole)[2]
    names = "JPEG", _JPEG_CHANNELS.get(space, space), "8 bits"
  elif data.startswith(b"\x89PNG"):
    names = "PNG", _PNG_CHANNELS[data[25]], f"{data[24]} bits"
  elif data.startswith(tiff.BEGINNINGS):
    samples, bits = tiff.samples_and_bits(data)
    names = "TIFF", _CHANNELS[samples], f"{bits} bits"
  else:
    kind = next(k for start, k in _BY_PILLOW.items() if data.startswith(start))
    opened = kind(io.BytesIO(data))
    mode = _MODES.get(opened.mode, opened.mode)
    names = str(opened.format), mode, "8 bits"
  return dict(zip(("format", "channels", "depth"), names, strict=True))


def _moments(image: np.ndarray) -> np.ndarray:
  """Returns mean and mean square of each channel, of values from 0 to 1."""
  planes = np.moveaxis(image, 2, 0).reshape(image.shape[2], -1)
  counts = [np.bincount(plane, minlength=256) for plane in planes]
  share = np.stack(counts) / planes.shape[1]  # [C, 256]
  levels = np.arange(256) / 255
  return np.stack([share @ levels, share @ levels**2])


def _oddity(image: np.ndarray) -> str:
  if (image > _DARK).mean() <= _SPARE:
    return "near-black"
  if (image == image[0, 0]).all():
    return "one colour all over"
  return ""
