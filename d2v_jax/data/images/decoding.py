"""Encoded images to uint8 arrays, and which of them are corrupt."""

import cv2
import numpy as np
import simplejpeg

_JPEG = b"\xff\xd8"
_PNG = b"\x89PNG"


def decode(data: bytes | np.ndarray, channels: int) -> np.ndarray | None:
  """Decodes an image, or finds it corrupt.

  Transparency is dropped, 16 bits are cut to 8, and the EXIF orientation is
  ignored, as the PyTorch reference does.

  Args:
    data: encoded bytes, or an already decoded uint8 [H, W, C].
    channels: 1 (grey) or 3 (RGB).

  Returns:
    uint8 [H, W, channels]; None when the data is corrupt or cut short.

  Raises:
    ValueError: `data` is an array that is not uint8 [H, W, 1 or 3].
  """
  if isinstance(data, np.ndarray):
    if data.dtype != np.uint8 or data.ndim != 3 or data.shape[2] not in (1, 3):
      raise ValueError(
        "decode: a decoded image must be uint8 [H, W, 1 or 3], got "
        f"{data.dtype} {list(data.shape)}"
      )
    return _with_channels(data, channels)
  if not _is_complete(data):
    return None
  if data.startswith(_JPEG):
    space = "RGB" if channels == 3 else "GRAY"
    try:
      return simplejpeg.decode_jpeg(data, space, strict=True)
    except ValueError as error:
      # The rest are unusual but whole files, for which OpenCV has the remedy.
      if "premature end" in str(error).lower():
        return None
  return _decode_with_opencv(data, channels)


def _is_complete(data: bytes) -> bool:
  """Looks for the end marker: decoders may fill the missing part with grey."""
  if data.startswith(_JPEG):
    # After the last scan has begun; an embedded thumbnail has its own end.
    return data.rfind(b"\xff\xd9") > data.rfind(b"\xff\xda") >= 0
  if data.startswith(_PNG):
    return b"IEND" in data
  return len(data) > 0


def _decode_with_opencv(data: bytes, channels: int) -> np.ndarray | None:
  try:
    raw = np.frombuffer(data, np.uint8)
    image = cv2.imdecode(raw, cv2.IMREAD_UNCHANGED)
  except cv2.error:  # such as more pixels than OpenCV allows
    return None
  if image is None or image.dtype not in (np.uint8, np.uint16):
    return None
  if image.dtype == np.uint16:
    image = (image // 256).astype(np.uint8)
  if image.ndim == 2:
    return _with_channels(image[..., None], channels)
  return _with_channels(np.ascontiguousarray(image[..., 2::-1]), channels)


def _with_channels(image: np.ndarray, channels: int) -> np.ndarray:
  if image.shape[2] == channels:
    return image
  if channels == 3:
    return np.repeat(image, 3, axis=2)
  return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None]
