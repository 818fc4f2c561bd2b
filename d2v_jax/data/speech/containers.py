"""What surrounds encoded sound: tags, chunks, pages and ends."""

from d2v_jax.data.files.unreadable import Unreadable
from d2v_jax.data.speech import chunks, ogg

_FLAC = b"fLaC\0\0\0\x22"  # and a first block, whose length is always that


def whole(data: bytes) -> bytes:
  """Returns a file as its decoder takes it.

  Tags in front are dropped, and an Ogg file gets the mark of its end.

  Args:
    data: bytes of a file.

  Raises:
    Unreadable: it is cut short where its decoder would not notice, or a second
      recording follows, of which the decoder would say nothing.
  """
  if data[:3] == b"ID3" and len(data) > 10:
    size = sum(
      (byte & 0x7F) << 7 * (3 - k) for k, byte in enumerate(data[6:10])
    )
    data = data[10 + size :]
  if not data:
    raise Unreadable("empty")
  if data[:4] in chunks.BEGINNINGS:
    chunks.check_whole(data)
  if data.find(_FLAC, 1) > 0 or _goes_on(data):
    raise Unreadable("two recordings, one behind the other; part them")
  if data[:4] == b"OggS":
    return ogg.mended(data)
  return data


def _goes_on(data: bytes) -> bool:
  """Whether more MP3 follows the bytes that an MP3 file counts as its own."""
  at = max(data.find(mark, 0, 1 << 16) for mark in (b"Xing", b"Info"))
  # The mark is near the beginning of a frame, which counts with the others.
  starts = (
    k for k in range(at, max(at - 40, -1), -1) if _is_mp3(data[k : k + 2])
  )
  start = next(starts, None)
  if at < 0 or start is None or int.from_bytes(data[at + 4 : at + 8]) & 3 != 3:
    return False
  rest = data[start + int.from_bytes(data[at + 12 : at + 16]) :]
  return rest.startswith(b"ID3") or _is_mp3(rest)


def _is_mp3(data: bytes) -> bool:
  """Whether a frame of MP3 begins: eleven bits, and layer III."""
  return len(data) > 1 and data[0] == 0xFF and data[1] & 0xE6 == 0xE2


def counts_frames(data: bytes) -> bool:
  """Whether an MP3 file begins with a frame that says its length.

  Args:
    data: bytes of a file.
  """
  start = data[: 1 << 16]
  return b"Xing" in start or b"Info" in start
