"""Files from elsewhere, read no further than they can be meant."""

import gzip
import io
import json
from typing import IO, Any

# Bytes: the tokenizers of the largest vocabularies have a third of it.
_MOST_JSON = 2**26
# A file may become so large whatever it was packed to, and beyond that so many
# times as large as it was: texts become 3 to 20 times as large, zeros 1,000.
_UNPACKED = 2**26
_TIMES = 200


def read_json(path: Any, most: int = _MOST_JSON) -> Any:
  """The content of a JSON file.

  Args:
    path: a path of pathlib or epath.
    most: bytes that it may have.

  Raises:
    OSError: it cannot be read.
    ValueError: it is larger, or no JSON, or nested too deeply to be read.
  """
  data = read_bytes(path, most)
  try:
    return json.loads(data)
  except RecursionError as error:
    raise ValueError(f"{path} is not JSON: it is nested too deeply") from error
  except ValueError as error:  # bad JSON or bad UTF-8
    raise ValueError(f"{path} is not JSON: {error}") from error


def read_bytes(path: Any, most: int = _MOST_JSON) -> bytes:
  """The bytes of a file.

  Raises:
    OSError: it cannot be read.
    ValueError: it has more than `most`.
  """
  with path.open("rb") as file:
    data: bytes = file.read(most + 1)
  if len(data) > most:
    raise ValueError(
      f"{path} has more than the {most} bytes that such a file may have; it "
      "was not read"
    )
  return data


def unpacked(file: IO[bytes]) -> io.BufferedReader:
  """A gzip file as a stream of what it holds.

  Reading raises BadGzipFile where that is far larger than any text would be.

  Args:
    file: that can be told its length by seeking.
  """
  size = file.seek(0, io.SEEK_END)
  file.seek(0)
  return io.BufferedReader(_Unpacked(file, max(_UNPACKED, _TIMES * size)))


class _Unpacked(io.RawIOBase):
  def __init__(self, file: IO[bytes], most: int) -> None:
    self._stream = gzip.GzipFile(fileobj=file)
    self._left = most
    self._most = most

  def readable(self) -> bool:
    return True

  def readinto(self, buffer: Any) -> int:
    count = self._stream.readinto(buffer)
    self._left -= count
    if self._left < 0:
      raise gzip.BadGzipFile(
        f"it unpacks to more than {self._most} bytes, {_TIMES} times its size, "
        "as no text does; unpack it first if that is right"
      )
    return count
