"""TIFF files: their tags say what decoders may cut in silence."""

import io
import struct

import cv2
import numpy as np
from PIL import Image, TiffImagePlugin

from d2v_jax.data.files.unreadable import Unreadable
from d2v_jax.data.images.markers import CUT
from d2v_jax.data.images.pixels import Form

Tags = TiffImagePlugin.ImageFileDirectory_v2

BEGINNINGS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_WIDTH, _HEIGHT, _BITS, _COMPRESSION = 256, 257, 258, 259
_SAMPLES, _FORMAT, _SUBFILE = 277, 339, 254
_PLACES = ((273, 279), (324, 325))  # of strips and of tiles: offsets and sizes
_AS_THEY_ARE = ("L", "LA", "RGB", "RGBA", "RGBX", "I", "F")
DAMAGE = (
  OSError,
  SyntaxError,
  ValueError,
  KeyError,
  TypeError,
  struct.error,
  OverflowError,
  Warning,  # where they are errors
)


def decode(data: bytes, form: Form) -> np.ndarray:
  """Decodes the only page of a TIFF, turned as its orientation says.

  Up to 8 bits are Pillow's part, which has more compressions; deeper pixels are
  OpenCV's, as Pillow keeps no more than 8 bits of several channels.

  Args:
    data: a whole file.
    form: has the bound on pixels.

  Returns:
    Numbers [H, W, C], as they are stored; palettes, CMYK and the like as RGB.

  Raises:
    Unreadable: it is damaged, or of a kind that cannot be read.
  """
  try:
    tags = _only_page(data)
    form.check_size(int(tags[_WIDTH]), int(tags[_HEIGHT]))
    samples, bits = _samples_and_bits(tags)
    formats = set(tags.get(_FORMAT, (1,)))
    _check_places(tags, len(data))
  except Unreadable:
    raise
  except DAMAGE as error:
    raise Unreadable(f"a damaged or cut TIFF: {error}") from error
  if samples > 4:
    raise Unreadable(
      f"a TIFF of {samples} channels, and at most four are read; "
      "save it as a .npy array [n, H, W, C], which the source 'arrays' reads"
    )
  if bits <= 8 and formats != {1}:
    raise Unreadable("a TIFF of signed 8-bit values, which is not read")
  deep = bits > 8
  image = None if deep else _by_pillow(data)
  if image is None:
    image = _by_opencv(data, samples, bits)
  if image is None and samples == 1:
    image = _by_pillow(data)
  if image is None or image.shape[2] not in (samples, 3):
    number = int(tags.get(_COMPRESSION, 1))
    name = TiffImagePlugin.COMPRESSION_INFO.get(number, str(number))
    raise Unreadable(
      f"damaged, or a TIFF of a kind that is not read: {samples} channels of "
      f"{bits} bits, compression {name}"
    )
  return image


def samples_and_bits(data: bytes) -> tuple[int, int]:
  """Returns the channels of a TIFF that `decode` decodes, and their depth."""
  return _samples_and_bits(_only_page(data))


def _samples_and_bits(tags: Tags) -> tuple[int, int]:
  return int(tags.get(_SAMPLES, 1)), max(tags.get(_BITS, (1,)))


def _only_page(data: bytes) -> Tags:
  file = io.BytesIO(data)
  start = file.read(8)
  if start[2:4] in (b"+\0", b"\0+"):  # the wide kind has a wider offset
    start += file.read(8)
  tags = Tags(start)
  file.seek(tags.next)
  tags.load(file)  # and now next is that of another page, or 0
  if tags.next and _is_page(file, start, tags.next):
    raise Unreadable(
      "a TIFF of several pages; save each of them as a file of its own"
    )
  return tags


def _is_page(file: io.BytesIO, start: bytes, offset: int) -> bool:
  """Whether a directory is of a page, and not of a smaller copy of one."""
  file.seek(offset)
  tags = Tags(start)
  tags.load(file)
  return not int(tags.get(_SUBFILE, 0)) & 1


def _check_places(tags: Tags, size: int) -> None:
  for offsets, counts in _PLACES:
    pieces = zip(tags.get(offsets, ()), tags.get(counts, ()), strict=True)
    if any(at + count > size for at, count in pieces):
      raise Unreadable(CUT)


def _by_opencv(data: bytes, samples: int, bits: int) -> np.ndarray | None:
  try:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
  except cv2.error:
    return None
  if image is None or image.dtype.itemsize * 8 < bits:
    return None
  if image.ndim == 2:
    return image[..., None] if samples == 1 else None
  order = [2, 1, 0, 3][: image.shape[2]]
  return image[..., order] if image.shape[2] == samples else None


def _by_pillow(data: bytes) -> np.ndarray | None:
  try:
    image = TiffImagePlugin.TiffImageFile(io.BytesIO(data))
  except DAMAGE:  # of a kind that Pillow does not know
    return None
  try:
    return pillow_pixels(image)
  except DAMAGE as error:
    # OpenCV would give what it has.
    raise Unreadable(f"damaged or cut short: {error}") from error


def pillow_pixels(image: Image.Image) -> np.ndarray:
  """Returns an opened image as numbers [H, W, C], as they are stored.

  Palettes become RGB, or RGBA where they are transparent; so do CMYK and the
  like.

  Raises:
    OSError: it is damaged; or what else the decoder raises.
  """
  image.load()
  if image.mode == "PA" or "transparency" in image.info:
    image = image.convert("RGBA")
  elif image.mode == "1":
    image = image.convert("L")
  elif image.mode not in _AS_THEY_ARE and not image.mode.startswith("I;16"):
    image = image.convert("RGB")
  pixels = np.asarray(image)
  return pixels[..., None] if pixels.ndim == 2 else pixels
