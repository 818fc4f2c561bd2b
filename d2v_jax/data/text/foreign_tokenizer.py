"""Tokenizers of any kind, such as WordPiece, with their ids in our order.

A folder has the tokenizer.json that other software reads, and order.json: which
of its ids is 0 with us, 1, and so on. So the special tokens of every model have
the same ids here, and the rows of its embedding are put into that order.
"""

import hashlib
import json
import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import tokenizers

from d2v_jax.data.files import bounded
from d2v_jax.data.layout import UNK
from d2v_jax.data.text.tokenizing import (
  TextTokenizer,
  flattened,
  without_lone_surrogates,
)

ORDER = "order.json"
CONTENT = "tokenizer.json"


class ForeignTokenizer(TextTokenizer):
  """A tokenizer of the library `tokenizers`, with other ids.

  As with our own, a special token's name within a text is text like any other.

  Args:
    content: of its tokenizer.json.
    order: our id -> its id: those of the tokens for the beginning, padding, the
      end and the unknown come first, the mask's comes last.
    pair_separators: see `TextTokenizer`.

  Raises:
    ValueError: no such tokenizer, or the order is not one of its ids.
  """

  def __init__(self, content: str, order: Sequence[int], pair_separators: int):
    try:
      library = tokenizers.Tokenizer.from_str(content)
    except Exception as e:  # the library raises nothing more special
      raise ValueError(f"tokenizer: {CONTENT} is no tokenizer: {e}") from e
    library.no_padding()
    library.no_truncation()
    library.encode_special_tokens = True
    count = library.get_vocab_size(with_added_tokens=True)
    if sorted(order) != list(range(count)) or count < UNK + 2:
      raise ValueError(
        f"tokenizer: {ORDER} must have each of the ids 0 to {count - 1} once"
      )
    self.pair_separators = pair_separators
    self._content, self._library = content, library
    self._theirs = np.array(order, np.int32)  # [ids]
    self._ours = np.argsort(self._theirs).astype(np.int32)

  def __reduce__(self) -> tuple[Any, ...]:
    order = tuple(self._theirs.tolist())
    return ForeignTokenizer, (self._content, order, self.pair_separators)

  @property
  def vocab_size(self) -> int:
    """See `TextTokenizer.vocab_size`."""
    return len(self._theirs)

  @property
  def fingerprint(self) -> str:
    """See `TextTokenizer.fingerprint`."""
    order = self._theirs.tolist()
    content = json.dumps([self._content, order, self.pair_separators])
    return hashlib.sha256(content.encode()).hexdigest()[:16]

  def encode_flat(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """See `TextTokenizer.encode_flat`."""
    texts = [without_lone_surrogates(text) for text in texts]
    encoded = self._library.encode_batch_fast(texts, add_special_tokens=False)
    flat, lengths = flattened(encoded)
    return self._ours[flat], lengths

  def decode(self, ids: Iterable[int]) -> str:
    """See `TextTokenizer.decode`."""
    ids = self._checked(ids)
    pieces = ids[(ids > UNK) & (ids < self.vocab_size - 1)]
    return self._library.decode(self._theirs[pieces].tolist())

  def save(self, path: str | os.PathLike[str]) -> None:
    """See `TextTokenizer.save`; one file cannot hold it."""
    raise ValueError(
      f"Tokenizer.save: {path}: this tokenizer has ids of another order; keep "
      f"the folder with {CONTENT} and {ORDER}"
    )


def files(
  content: bytes, order: Sequence[int], pair_separators: int
) -> dict[str, bytes]:
  """What `read` reads, name -> bytes."""
  made = {"order": list(order), "pair_separators": pair_separators}
  return {CONTENT: content, ORDER: json.dumps(made).encode()}


def read(folder: pathlib.Path) -> ForeignTokenizer:
  """Reads a folder with tokenizer.json and order.json.

  Raises:
    ValueError: they are no such files.
  """
  try:
    content = bounded.read_bytes(folder / CONTENT).decode("utf-8")
    made = bounded.read_json(folder / ORDER)
    order, separators = made["order"], int(made["pair_separators"])
  except (OSError, ValueError, TypeError, KeyError) as e:
    raise ValueError(
      f"tokenizer: {folder} must have {CONTENT} and {ORDER}: {e}"
    ) from e
  return ForeignTokenizer(content, order, separators)
