"""Encoded images to uint8 arrays, and why some of them cannot be."""

import io
import re

import cv2
import numpy as np
import simplejpeg
from PIL import BmpImagePlugin, GifImagePlugin, Image, WebPImagePlugin

from d2v_jax.data.files.content import look_of
from d2v_jax.data.files.unreadable import Unreadable
from d2v_jax.data.images import markers, tiff
from d2v_jax.data.images.pixels import MAX_CHANNELS, Form, turned

_JPEG = b"\xff\xd8"
_PNG = b"\x89PNG\r\n\x1a\n"
_ORIENTATION = 0x0112  # in EXIF
_EXTRANEOUS = re.compile(r"(\d+) extraneous bytes before marker 0xd9")
_FEW = 16  # bytes that a camera may leave there
_EXIF_WITHIN = 1 << 16  # of a JPEG: its segments are no longer


def decode(
  data: bytes | np.ndarray, channels: int = 3, form: Form | None = None
) -> np.ndarray:
  """Decodes an image, or says why it cannot be used.

  Images are turned as their EXIF orientation says. Of an animation it is the
  first picture. Bytes behind the image do no harm, nor does a missing end mark.

  Args:
    data: encoded bytes, or an already decoded array [H, W, C].
    channels: 1 (grey), 3 (RGB) or others (as they are stored); with `form` its
      are used.
    form: what the image is brought to; None: 8 bits as they are.

  Returns:
    uint8 [H, W, channels].

  Raises:
    Unreadable: the data is damaged or cut short, or does not fit the form.
    ValueError: an array of another shape.

  Source: the PyTorch reference ignores the orientation, cuts 16 bits to 8, and
  drops transparency.
  """
  form = form or Form(channels)
  if isinstance(data, np.ndarray):
    if data.ndim != 3 or not 1 <= data.shape[2] <= MAX_CHANNELS:
      raise ValueError(
        f"decode: a decoded image must be [H, W, C] with C 1 to {MAX_CHANNELS},"
        f" got {data.dtype} {list(data.shape)}"
      )
    return form.apply(data)
  if data.startswith(_JPEG):
    return _jpeg(data, form)
  if data.startswith(_PNG):
    return _png(data, form)
  if data.startswith(tiff.BEGINNINGS):
    return form.apply(tiff.decode(data, form))
  if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
    return _webp(data, form)
  if data.startswith((b"GIF87a", b"GIF89a")):
    return _by_pillow(GifImagePlugin.GifImageFile, data, form)
  if data.startswith(b"BM"):
    return _by_pillow(BmpImagePlugin.BmpImageFile, data, form)
  raise Unreadable(f"no image that is read: {look_of(data)}")


def _jpeg(data: bytes, form: Form) -> np.ndarray:
  whole = markers.whole_jpeg(data)
  try:
    height, width, _, _ = simplejpeg.decode_jpeg_header(whole)
  except ValueError as error:
    raise Unreadable(f"damaged: {error}") from error
  form.check_size(width, height)
  try:
    space = "GRAY" if form.channels == 1 else "RGB"
    image = simplejpeg.decode_jpeg(whole, space, strict=True)
  except ValueError as error:
    if "premature end" in str(error).lower():
      raise Unreadable(markers.CUT) from error
    if "corrupt" in str(error).lower() and not _is_filled(whole, str(error)):
      raise Unreadable(f"damaged: {error}") from error
    # The rest are unusual but whole files, for which OpenCV has the remedy.
    image = _by_opencv(whole)
  exif = whole.find(b"Exif\0\0", 0, _EXIF_WITHIN)
  return turned(form.apply(image), _orientation(whole, exif))


def _is_filled(data: bytes, error: str) -> bool:
  """Whether a decoder minds no more than some filling in front of the end."""
  found = _EXTRANEOUS.search(error)
  if found is None:
    return False
  filling = data[-2 - int(found.group(1)) : -2]
  return len(filling) <= _FEW or len(set(filling)) == 1


def _png(data: bytes, form: Form) -> np.ndarray:
  if data[12:16] != b"IHDR":
    raise Unreadable(markers.CUT if len(data) < 24 else "damaged")
  form.check_size(*(int.from_bytes(data[at : at + 4]) for at in (16, 20)))
  image = _by_opencv(markers.whole_png(data))
  exif = data.find(b"eXIf")
  return turned(
    form.apply(image), _orientation(data, exif + 4 if exif >= 0 else -1)
  )


def _webp(data: bytes, form: Form) -> np.ndarray:
  if len(data) < 8 + int.from_bytes(data[4:8], "little"):
    raise Unreadable(markers.CUT)
  try:
    form.check_size(*WebPImagePlugin.WebPImageFile(io.BytesIO(data)).size)
  except (OSError, SyntaxError) as error:
    raise Unreadable(f"damaged: {error}") from error
  image = _by_opencv(data)
  exif = data.rfind(b"EXIF")
  return turned(
    form.apply(image), _orientation(data, exif + 8 if exif >= 0 else -1)
  )


def _by_pillow(kind: type, data: bytes, form: Form) -> np.ndarray:
  # The kind's own class, not Image.open, whose bound on pixels is another.
  try:
    image = kind(io.BytesIO(data))
    form.check_size(*image.size)
    pixels = tiff.pillow_pixels(image)
  except Unreadable:
    raise
  except tiff.DAMAGE as error:
    cut = "truncated" in str(error) or isinstance(error, EOFError)
    raise Unreadable(markers.CUT if cut else f"damaged: {error}") from error
  return form.apply(pixels)


def _by_opencv(data: bytes) -> np.ndarray:
  """Returns numbers [H, W, C], colours as RGB."""
  try:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
  except cv2.error as error:
    raise Unreadable(f"damaged: {error.err}") from error
  if image is None:
    raise Unreadable("damaged, or of a kind that its decoder does not know")
  if image.ndim == 2:
    return image[..., None]
  return image[..., [2, 1, 0, 3][: image.shape[2]]]


def _orientation(data: bytes, at: int) -> int:
  """Returns the orientation in the EXIF data that begin there; 1 if at < 0."""
  if at < 0:
    return 1
  exif = Image.Exif()
  try:
    exif.load(data[at : at + _EXIF_WITHIN])
    return int(exif.get(_ORIENTATION, 1))
  except Exception:  # damaged beside the image, in any of many ways
    return 1
