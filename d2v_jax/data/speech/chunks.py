"""WAV and AIFF files: chunks, one of which is the sound."""

from d2v_jax.data.unreadable import Unreadable

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
      return
    at += 8 + size + size % 2
  raise Unreadable("cut short")
