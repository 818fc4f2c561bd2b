"""Ogg files: where they end, and the mark that says so."""

from d2v_jax.data.files.unreadable import Unreadable

_MARK = b"OggS"
_HEADER = 27  # bytes in front of the table of a page's sizes
_FIRST = 2  # flag of a stream's first page; all of them come first
_LAST = 4  # flag of a stream's last page
_CHECKSUM = slice(22, 26)


def mended(data: bytes) -> bytes:
  """Returns an Ogg file whose last page is marked as such.

  Recordings that were broken off, and streams that were written down, lack the
  mark, and then some decoders read nothing. What follows the last page is no
  part of the sound.

  Args:
    data: begins with a page.

  Raises:
    Unreadable: the last page is not all there, or a second recording begins,
      of which decoders would say nothing.

  Source: RFC 3533, section 6.
  """
  at, last, begun = 0, 0, True
  while data[at : at + 4] == _MARK:
    is_first = bool(_byte(data, at + 5) & _FIRST)
    if is_first and not begun:
      raise Unreadable("two recordings, one behind the other; part them")
    begun = is_first
    table = data[at + _HEADER : at + _HEADER + _byte(data, at + 26)]
    end = at + _HEADER + len(table) + sum(table)
    whole = len(table) == _byte(data, at + 26) and end <= len(data)
    if not whole or at + _HEADER > len(data):
      raise Unreadable("cut short")
    last, at = at, end
  page = bytearray(data[last:at])
  if page[5] & _LAST:
    return data[:at]
  page[5] |= _LAST
  page[_CHECKSUM] = bytes(4)
  page[_CHECKSUM] = _checksum(bytes(page)).to_bytes(4, "little")
  return data[:last] + bytes(page)


def _byte(data: bytes, at: int) -> int:
  return data[at] if at < len(data) else 0


def _table() -> list[int]:
  table = []
  for value in range(256):
    rest = value << 24
    for _ in range(8):
      rest = rest << 1 ^ (0x104C11DB7 if rest & 0x80000000 else 0)
    table.append(rest)
  return table


_TABLE = _table()


def _checksum(page: bytes) -> int:
  """The CRC of a page whose own checksum is zero."""
  value = 0
  for byte in page:
    value = (value << 8 & 0xFFFFFFFF) ^ _TABLE[value >> 24 ^ byte]
  return value
