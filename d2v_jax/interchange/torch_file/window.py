"""Bytes read with care."""

from d2v_jax.interchange.weights import InterchangeError

# Far above what the structure of a checkpoint takes, its weights left out.
_MOST_BYTES = 64 * 2**20
# Of text: a name or a number.
_LONGEST_LINE = 8192


class Window:
  """A reader of bytes that never takes more memory than they have left."""

  def __init__(self, data: memoryview, at: int = 0):
    self._data, self._at = data[: at + _MOST_BYTES], at

  def read(self, n: int) -> bytes:
    """The next n bytes, or what is left."""
    piece = bytes(self._data[self._at : self._at + n])
    self._at += len(piece)
    return piece

  def readline(self) -> bytes:
    """The bytes up to and with the next newline."""
    piece = bytes(self._data[self._at : self._at + _LONGEST_LINE])
    line = self.read(piece.find(b"\n") + 1)
    if b"\\" in line:
      raise InterchangeError(f"refused the escaped name {line[:100]!a}")
    return line

  def tell(self) -> int:
    """Position in the whole data."""
    return self._at

  def left(self) -> int:
    """How many bytes may still be read."""
    return len(self._data) - self._at
