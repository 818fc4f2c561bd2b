"""Word n-grams: language models in ARPA files."""

import array
import codecs
import gzip
import io
import itertools
import math
import re
import zlib
from collections.abc import Iterator

import numpy as np
from etils import epath

from d2v_jax.data.files.bounded import unpacked

Context = tuple[int, ...]

_COUNT = re.compile(rb"ngram\s+(\d+)\s*=\s*(\d+)$")
_UNKNOWN = ("<unk>", "<UNK>")


class Arpa:
  """A back-off n-gram over words, of any order.

  Each n-gram takes 16 bytes, and some 12 + 4 n more while it is read. The
  n-grams of an order are kept sorted by one number: the place of their first
  n - 1 words among those of the order below, times the size of the vocabulary,
  plus the last word.

  Args:
    path: the ARPA file, plain or compressed (`.gz`).

  Attributes:
    order: words of the longest n-grams.
    numbers: word -> its number; `<s>` and `</s>` are words, too.
    start: context at the beginning of a sentence.
    end: number of `</s>`.
    unknown: number of `<unk>` (or `<UNK>`); None if the file has none.

  Raises:
    ValueError: there is no such file, or it is malformed; names the line.

  Source: the format as SRILM and KenLM write it. As for KenLM, the first words
  of every n-gram must be among the shorter ones.
  """

  def __init__(self, path: epath.PathLike):
    file = epath.Path(path)
    if not file.is_file():
      raise ValueError(f"Arpa: no such file: {path}")
    self.numbers: dict[str, int] = {}
    self._keys: list[np.ndarray] = []
    self._log_probs: list[np.ndarray] = []
    self._backoffs: list[np.ndarray] = []
    with file.open("rb") as raw:
      packed = file.suffix == ".gz"
      stream = unpacked(raw) if packed else io.BufferedReader(raw)
      lines = _Lines(str(path), stream)
      try:
        self._read(lines)
      except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"Arpa: cannot read {path}: {error}") from error
    self.order = len(self._keys)
    for word in ("<s>", "</s>"):
      if word not in self.numbers:
        raise ValueError(f"Arpa: {path} has no word {word}; estimate it anew")
    self.start: Context = (self.numbers["<s>"],)
    self.end = self.numbers["</s>"]
    found = [self.numbers[word] for word in _UNKNOWN if word in self.numbers]
    self.unknown = found[0] if found else None

  def extend(self, context: Context, word: int) -> Context:
    """Returns the context after a word: as many words as matter."""
    return ((*context, word))[max(0, len(context) + 2 - self.order) :]

  def log_prob(self, context: Context, word: int) -> float:
    """Natural logarithm of the probability of a word.

    Args:
      context: numbers of the words before it, of which the last count.
      word: its number.
    """
    total = 0.0
    for first in range(max(0, len(context) + 1 - self.order), len(context)):
      place = self._find(context[first:])
      if place is not None:
        length = len(context) - first
        longer = self._place(length, place, word)
        if longer is not None:
          return total + float(self._log_probs[length][longer])
        total += float(self._backoffs[length - 1][place])
    return total + float(self._log_probs[0][word])

  def _find(self, words):
    """Place of an n-gram among those of its order; None if it has none."""
    place = words[0]
    for length, word in enumerate(words[1:], 1):
      place = self._place(length, place, word)
      if place is None:
        return None
    return place

  def _place(self, length, place, word):
    """Place of the n-gram made of that at a place and one more word."""
    keys = self._keys[length]
    key = place * len(self.numbers) + word
    found = int(keys.searchsorted(key))
    return found if found < len(keys) and keys[found] == key else None

  def _read(self, lines):
    if not any(line == b"\\data\\" for line in lines):
      raise lines.error(
        "the file ends without a line \\data\\; is it an ARPA file? (KenLM's "
        "binary files are not)"
      )
    counts = []
    for line in lines:
      if line.startswith(b"\\"):
        break
      if line:
        match = _COUNT.match(line)
        if match is None or int(match[1]) != len(counts) + 1:
          raise lines.error(f"expected 'ngram {len(counts) + 1}=...'")
        counts.append(int(match[2]))
    if not counts:
      raise lines.error("expected lines such as 'ngram 1=...' before it")
    for order, count in enumerate(counts, 1):
      if lines.now != b"\\%d-grams:" % order:
        raise lines.error(f"expected \\{order}-grams:")
      self._read_section(lines, order, count)
      next(filter(None, lines), None)
    if lines.now != b"\\end\\":
      raise lines.error("expected \\end\\")

  def _read_section(self, lines, order, count):
    before = lines.number
    ids = array.array("i")
    values = array.array("f")
    numbers = {word.encode(): i for word, i in self.numbers.items()}
    for line in itertools.islice(lines, count):
      parts = line.split()
      if len(parts) == order + 1:
        parts.append(b"0")
      if len(parts) != order + 2:
        raise lines.error(
          f"expected one of {count} {order}-grams: a logarithm to base 10, "
          f"{order} words, perhaps a back-off weight"
        )
      if order == 1:
        self._add_word(lines, parts[1])
      else:
        try:
          ids.extend([numbers[word] for word in parts[1:-1]])
        except KeyError as error:
          word = error.args[0].decode(errors="replace")
          raise lines.error(f"{word!r} is not among the 1-grams") from None
      try:
        values.extend((float(parts[0]), float(parts[-1])))
      except ValueError as error:
        raise lines.error(f"{error}") from None
    if lines.number - before < count:
      raise lines.error(f"the file ends before the last of {count} lines")
    logs = np.frombuffer(values, np.float32).reshape(count, 2)
    wrong = ~np.isfinite(logs).all(1) | (logs[:, 0] > 0)
    if wrong.any():
      raise lines.error(
        "logarithms must be finite, and that of a probability at most 0",
        before + 1 + int(wrong.argmax()),
      )
    keys = np.arange(count)
    if order > 1:
      keys = self._sort_keys(ids, order, lines, before)
      by_key = keys.argsort(kind="stable")
      keys, logs = keys[by_key], logs[by_key]
      if (same := keys[1:] == keys[:-1]).any():
        number = before + 1 + int(by_key[1:][same].min())
        raise lines.error("this n-gram is there twice", number)
    self._keys.append(keys)
    logs = logs * np.float32(math.log(10))
    self._log_probs.append(np.ascontiguousarray(logs[:, 0]))
    self._backoffs.append(np.ascontiguousarray(logs[:, 1]))

  def _add_word(self, lines, word):
    try:
      text = word.decode()
    except UnicodeDecodeError as error:
      raise lines.error(f"{word!r} is not UTF-8: {error}") from None
    if text in self.numbers:
      raise lines.error(f"the word {text} is there twice")
    self.numbers[text] = len(self.numbers)

  def _sort_keys(self, ids, order, lines, before):
    """The number that each n-gram of a section is sorted by, int64 [count]."""
    words = np.frombuffer(ids, np.int32).reshape(-1, order).T
    place = words[0].astype(np.int64)
    for length in range(1, order - 1):
      key = place * len(self.numbers) + words[length]
      keys = self._keys[length]
      place = np.minimum(keys.searchsorted(key), len(keys) - 1)
      missing = keys[place] != key if len(keys) else np.ones(len(key), bool)
      if missing.any():
        raise lines.error(
          f"its first {length + 1} words are not among the {length + 1}-grams",
          before + 1 + int(missing.argmax()),
        )
    return place * len(self.numbers) + words[-1]


class _Lines:
  """The lines of a file without white space at their ends, counted."""

  def __init__(self, path: str, stream: Iterator[bytes]):
    self._path = path
    self._stream = stream
    self.number = 0
    self.now: bytes = b""

  def __iter__(self) -> Iterator[bytes]:
    return self

  def __next__(self) -> bytes:
    self.now = b""
    self.now = next(self._stream).strip()
    self.number += 1
    if self.number == 1:
      self.now = self.now.removeprefix(codecs.BOM_UTF8).strip()
    return self.now

  def error(self, text: str, number: int | None = None) -> ValueError:
    """A ValueError that names the file and the line, the last one read."""
    if number is None:
      number = self.number
      text += f", got {self.now[:60].decode(errors='replace')!r}"
    return ValueError(f"Arpa: {self._path}:{number}: {text}")
