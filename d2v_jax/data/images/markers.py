"""Where an encoded image ends: decoders may fill what is missing with grey."""

import re
import zlib

from d2v_jax.data.files.unreadable import Unreadable

CUT = "cut short"

_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
# In a scan 0xff is followed by 0, by the number of a restart, or by more 0xff;
# anything else ends it.
_AFTER_SCAN = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_SCAN, _END = 0xDA, 0xD9
_ALONE = {0x01, *range(0xD0, 0xD9)}  # markers without a length


def whole_jpeg(data: bytes) -> bytes:
  """Returns a JPEG with its end marker, and without what follows it.

  Segments are stepped over by their lengths, so that neither a thumbnail in one
  nor a clip behind the image is taken for its end. A file that ends in a scan
  gets the marker: whether the scan is whole, its decoder finds.

  Args:
    data: begins with 0xff 0xd8.

  Raises:
    Unreadable: it ends before its first scan, or between its parts.
  """
  at, has_scan = 2, False
  while at + 4 <= len(data) or data[at : at + 2] == b"\xff\xd9":
    if data[at] != 0xFF:
      at = data.find(b"\xff", at)  # as decoders do
      if at < 0:
        break
      continue
    marker = data[at + 1]
    if marker == _END and has_scan:
      return data[: at + 2]
    if marker == _END:
      raise Unreadable("damaged: a JPEG without a scan")
    if marker == 0xFF:
      at += 1
      continue
    if marker in _ALONE or marker == 0:
      at += 2
      continue
    at += 2 + int.from_bytes(data[at + 2 : at + 4])
    if marker == _SCAN:
      has_scan = True
      found = _AFTER_SCAN.search(data, at)
      if found is None:
        return data + b"\xff\xd9"
      at = found.start()
  raise Unreadable(CUT)


def whole_png(data: bytes) -> bytes:
  """Returns a PNG that has its end chunk.

  Args:
    data: begins with the signature.

  Raises:
    Unreadable: its pixels are not all there.
  """
  at, pixels = 8, zlib.decompressobj()
  while at + 12 <= len(data):
    length, kind = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8]
    if kind == b"IEND":
      return data
    if at + 12 + length > len(data):
      break
    at += 12 + length
  # No end chunk, which is no loss if all the others are there.
  try:
    for chunk in _pixel_chunks(data[:at]):
      _inflate(pixels, chunk)
  except zlib.error as error:
    raise Unreadable(f"damaged: {error}") from error
  if not pixels.eof:
    raise Unreadable(CUT)
  return data[:at] + _PNG_END


def _pixel_chunks(data: bytes) -> list[bytes]:
  chunks, at = [], 8
  while at + 12 <= len(data):
    length = int.from_bytes(data[at : at + 4])
    if data[at + 4 : at + 8] == b"IDAT":
      chunks.append(data[at + 8 : at + 8 + length])
    at += 12 + length
  return chunks


def _inflate(stream, chunk: bytes) -> None:
  """Feeds a chunk, and forgets what comes out piece by piece."""
  while chunk and not stream.eof:
    stream.decompress(chunk, 1 << 20)
    chunk = stream.unconsumed_tail
