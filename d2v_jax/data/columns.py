"""Millions of short texts in little memory, and rows made of them."""

import itertools
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import overload

import numpy as np

# Half characters, and bytes of names that are no UTF-8, come back as they were.
_ERRORS = "surrogatepass"
_BLOCK = 2**14  # texts


class TextColumn(Sequence[str]):
  """Texts in one piece of memory: their bytes, and where each of them ends.

  A list of a million file names takes a hundred bytes of each beside the name;
  this takes four or, from 4 GiB on, eight. It is made once and not changed.

  Args:
    texts: read once.
  """

  def __init__(self, texts: Iterable[str] = ()):
    builder = TextsBuilder()
    rest = iter(texts)
    while block := list(itertools.islice(rest, _BLOCK)):
      builder.extend(block)
    self._bytes, self._ends = builder.content()

  @classmethod
  def of(cls, content: np.ndarray, ends: np.ndarray) -> "TextColumn":
    """Returns texts of the arrays that `arrays` gives."""
    made = cls.__new__(cls)
    made._bytes, made._ends = content, ends
    return made

  @property
  def arrays(self) -> tuple[np.ndarray, np.ndarray]:
    """Bytes of all texts, uint8 [total], and their ends, unsigned [n]."""
    return self._bytes, self._ends

  @property
  def nbytes(self) -> int:
    """Bytes of memory."""
    return self._bytes.nbytes + self._ends.nbytes

  def __len__(self) -> int:
    return len(self._ends)

  @overload
  def __getitem__(self, index: int) -> str: ...

  @overload
  def __getitem__(self, index: slice) -> "TextColumn": ...

  def __getitem__(self, index: int | slice) -> "str | TextColumn":
    if isinstance(index, slice):
      return TextColumn(self[i] for i in range(len(self))[index])
    at = range(len(self))[index]  # also for negative ones
    start = int(self._ends[at - 1]) if at else 0
    return self._decoded(start, int(self._ends[at]))

  def __iter__(self) -> Iterator[str]:
    for first in range(0, len(self), _BLOCK):
      ends = self._ends[first : first + _BLOCK].tolist()
      start = int(self._ends[first - 1]) if first else 0
      block = self._bytes[start : ends[-1]].tobytes()
      bounds = itertools.pairwise([0, *(end - start for end in ends)])
      if block.isascii():
        text = block.decode("ascii")
        yield from (text[a:b] for a, b in bounds)
      else:
        yield from (block[a:b].decode(errors=_ERRORS) for a, b in bounds)

  def _decoded(self, start: int, end: int) -> str:
    return self._bytes[start:end].tobytes().decode(errors=_ERRORS)


class TextsBuilder:
  """Collects texts for `TextColumn`, some at a time."""

  def __init__(self) -> None:
    self._bytes = bytearray()
    self._lengths: list[np.ndarray] = []
    self._count = 0

  def __len__(self) -> int:
    return self._count

  def extend(self, texts: Sequence[str]) -> None:
    """Adds texts at the end."""
    together = "".join(texts)
    lengths = map(len, texts)
    if together.isascii():
      self._bytes += together.encode("ascii")
    else:
      encoded = [text.encode(errors=_ERRORS) for text in texts]
      self._bytes += b"".join(encoded)
      lengths = map(len, encoded)
    self._lengths.append(np.fromiter(lengths, np.uint32, len(texts)))
    self._count += len(texts)

  def extend_empty(self, count: int) -> None:
    """Adds empty texts."""
    self._lengths.append(np.zeros(count, np.uint32))
    self._count += count

  def content(self) -> tuple[np.ndarray, np.ndarray]:
    """What `TextColumn.arrays` gives."""
    wide = np.uint64 if len(self._bytes) >= 2**32 else np.uint32
    lengths = np.concatenate([np.zeros(0, np.uint32), *self._lengths])
    ends = np.cumsum(lengths, dtype=wide)
    return np.frombuffer(self._bytes, np.uint8), ends

  def texts(self) -> TextColumn:
    """The texts that were added."""
    return TextColumn.of(*self.content())


class Rows(Sequence[dict[str, str]]):
  """Rows of columns; a row is made when it is asked for.

  Args:
    columns: name -> a text for each row.
    count: number of rows.
  """

  def __init__(self, columns: Mapping[str, Sequence[str]], count: int):
    self.columns = dict(columns)
    self._count = count

  def __len__(self) -> int:
    return self._count

  @overload
  def __getitem__(self, index: int) -> dict[str, str]: ...

  @overload
  def __getitem__(self, index: slice) -> "Rows": ...

  def __getitem__(self, index: int | slice) -> "dict[str, str] | Rows":
    at = range(self._count)[index]
    if isinstance(at, range):
      some = {name: texts[index] for name, texts in self.columns.items()}
      return Rows(some, len(at))
    return {name: texts[at] for name, texts in self.columns.items()}

  def __iter__(self) -> Iterator[dict[str, str]]:
    if not self.columns:
      return iter([{} for _ in range(self._count)])
    values = zip(*self.columns.values(), strict=True)
    return (dict(zip(self.columns, row, strict=True)) for row in values)


class Made(Sequence[str]):
  """Texts that are made of others when they are asked for.

  Args:
    make: what is made of one; can be pickled.
    of: the others.
  """

  def __init__(self, make: Callable[[str], str], of: Sequence[str]):
    self._make = make
    self._of = of

  def __len__(self) -> int:
    return len(self._of)

  @overload
  def __getitem__(self, index: int) -> str: ...

  @overload
  def __getitem__(self, index: slice) -> "Made": ...

  def __getitem__(self, index: int | slice) -> "str | Made":
    if isinstance(index, slice):
      return Made(self._make, self._of[index])
    return self._make(self._of[index])

  def __iter__(self) -> Iterator[str]:
    return map(self._make, self._of)


class Below:
  """Makes paths below a folder; an absolute one stays as it is."""

  def __init__(self, folder: str):
    self._folder = folder

  def __call__(self, name: str) -> str:
    """Returns the path of a name."""
    return str(pathlib.Path(self._folder) / name)
