"""What every tokenizer does."""

import abc
import itertools
import os
from collections.abc import Iterable, Sequence

import numpy as np


class TextTokenizer(abc.ABC):
  """Text to token ids and back.

  Ids of the special tokens are those of `layout`, and <mask> is the last one.

  Attributes:
    pair_separators: how many </s> stand between two texts of a pair.
  """

  pair_separators: int = 2

  @property
  @abc.abstractmethod
  def vocab_size(self) -> int:
    """Number of ids, special tokens included."""

  @property
  @abc.abstractmethod
  def fingerprint(self) -> str:
    """Identifies the mapping from text to ids, whatever files it came from."""

  @abc.abstractmethod
  def encode_flat(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Encodes texts on all cores; the library's threads leave Python's free.

    Args:
      texts: any strings.

    Returns:
      The ids of all, one text after the other, int32 [sum of n]; and how many
      each text has, int64 [number of texts].
    """

  @abc.abstractmethod
  def decode(self, ids: Iterable[int]) -> str:
    """Returns the text of ids; special tokens are left out.

    Args:
      ids: integers [n].

    Raises:
      ValueError: an id is not in the vocabulary.
    """

  @abc.abstractmethod
  def save(self, path: str | os.PathLike[str]) -> None:
    """Writes a tokenizer.json that `load` and other libraries read.

    Args:
      path: the file; there must be none.

    Raises:
      ValueError: the file exists, or cannot hold this tokenizer.
    """

  def encode(self, text: str) -> np.ndarray:
    """Returns the ids of a text, int32 [n], without special tokens."""
    return self.encode_batch([text])[0]

  def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
    """Encodes texts on all cores.

    Args:
      texts: any strings.

    Returns:
      Their ids, int32 [n] each.
    """
    flat, lengths = self.encode_flat(texts)
    ends = np.cumsum(lengths).tolist()
    return [flat[a:b] for a, b in itertools.pairwise([0, *ends])]

  def _checked(self, ids: Iterable[int]) -> np.ndarray:
    ids = np.asarray(ids, np.int64)
    wrong = ids[(ids < 0) | (ids >= self.vocab_size)]
    if wrong.size:
      raise ValueError(
        f"Tokenizer.decode: id {wrong[0]} is not in 0 to {self.vocab_size - 1}"
      )
    return ids


def without_lone_surrogates(text: str) -> str:
  """JSON can hold halves of characters, which have no bytes in UTF-8."""
  if text.isascii():
    return text
  return text.encode("utf-8", "replace").decode("utf-8")


def flattened(encodings: Sequence) -> tuple[np.ndarray, np.ndarray]:
  """Ids and lengths, as `encode_flat` returns them, of a library's results."""
  lengths = np.array([len(encoding) for encoding in encodings], np.int64)
  ids = itertools.chain.from_iterable(e.ids for e in encodings)
  return np.fromiter(ids, np.int32, lengths.sum()), lengths
