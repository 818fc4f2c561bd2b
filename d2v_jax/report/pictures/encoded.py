"""Pixels and sound as addresses that hold what they stand for."""

import base64
import io

import cv2
import numpy as np
import soundfile

from d2v_jax.report.markup import Element, tag

# Larger pictures are photographs: a hundred kilobytes each without loss.
_LOSSLESS = 96
_MOST_PIXELS = 160
_QUALITY = 80
_MOST_SECONDS = 3.0
# Of MP3, from 0 to 1: half as large as by default, and clear enough.
_COMPRESSION = 0.9
_LOUDEST = 0.8  # of 1; what is decoded may be louder by a tenth


def picture(pixels: np.ndarray) -> str:
  """The address of a picture.

  Args:
    pixels: uint8 [H, W] or, red, green and blue, [H, W, 3].
  """
  if pixels.ndim == 3:
    pixels = pixels[..., ::-1]  # as OpenCV has them
  pixels = np.ascontiguousarray(pixels)
  side = max(pixels.shape[:2])
  if side <= _LOSSLESS:
    return _address("image/png", cv2.imencode(".png", pixels)[1].tobytes())
  if side > _MOST_PIXELS:
    scale = _MOST_PIXELS / side
    pixels = cv2.resize(
      pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA
    )
  options = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
  content = cv2.imencode(".jpg", pixels, options)[1].tobytes()
  return _address("image/jpeg", content)


def sound(samples: np.ndarray, rate: float) -> Element:
  """A player of at most so many seconds that a page stays small.

  Args:
    samples: float [T], of any loudness.
    rate: samples per second.
  """
  part = samples[: round(_MOST_SECONDS * rate)].astype(np.float32)
  part = _LOUDEST * part / max(float(np.abs(part).max(initial=0)), 1e-9)
  file = io.BytesIO()
  soundfile.write(
    file,
    part,
    round(rate),
    format="MP3",
    compression_level=_COMPRESSION,
  )
  return tag(
    "audio",
    controls="controls",
    preload="none",
    aria_label="the recording",
    src=_address("audio/mpeg", file.getvalue()),
  )


def _address(kind: str, content: bytes) -> str:
  return f"data:{kind};base64,{base64.b64encode(content).decode()}"
