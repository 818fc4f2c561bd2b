"""WAV and AIFF files: chunks, one of which is the sound."""

from d2v_jax.data.files.unreadable import Unreadable

BEGINNINGS = (b"RIFF", b"RF64", b"BW64", b"FORM")
_UNTIL_THE_END = 0x7FFF0000  # programs that write to a pipe put such sizes


def check_whole(data: bytes) -> None:
  """Raises Unreadable for a file cut short, which decoders read to its end.

  Args:
    data: begins with RIFF, RF64, BW64 or FORM.

  Source: RF64 is EBU Tech 3306.
  """
  little = data[:4] != b"FORM"
  order, sound = ("little", b"data") if little else ("big", b"SSND")
  at, wide = 12, None
  end = 8 + int.from_bytes(data[4:8], order)  # type: ignore[arg-type]
  if (
    data[end : end + 4] in BEGINNINGS and data[end + 8 : end + 12] == data[8:12]
  ):
    raise Unreadable("two recordings, one behind the other; part them")
  while at + 8 <= len(data):
    kind = data[at : at + 4]
    size = int.from_bytes(data[at + 4 : at + 8], order)  # type: ignore[arg-type]
    if kind == b"ds64" and at + 24 <= len(data):
      wide = int.from_bytes(data[at + 16 : at + 24], "little")
    if kind == sound:
      if size == 0xFFFFFFFF and wide is not None:
        size = wide
      elif size >= _UNTIL_THE_END:
        return
      if at + 8 + size > len(data):
        break
      if not size and len(data) > at + 8:
        raise Unreadable(
          "its header says that it is empty, as of a recording that was broken "
          f"off; {len(data) - at - 8} bytes follow"
        )
      return
    at += 8 + size + size % 2
  raise Unreadable("cut short")
