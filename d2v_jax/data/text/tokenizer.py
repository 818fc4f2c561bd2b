"""Byte-level BPE: text to token ids and back, and how to train one."""

import argparse
import hashlib
import json
import os
import pathlib
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import tokenizers

from d2v_jax.data.layout import UNK
from d2v_jax.data.text import documents, foreign_tokenizer, tokenizer_files
from d2v_jax.data.text.tokenizer_files import MASK, SPECIALS, Merge
from d2v_jax.data.text.tokenizing import (
  TextTokenizer,
  flattened,
  without_lone_surrogates,
)

_HELP = """\
Trains a byte-level BPE on texts, and writes it to OUT, a tokenizer.json.

  d2v tokenizer tokenizer.json books --vocab_size=8000

The same texts give the same tokenizer.
"""

# The 256 bytes, the four special tokens and <mask>.
SMALLEST_VOCABULARY = 256 + len(SPECIALS) + 1

_EMBEDDED = {
  "kjv": pathlib.Path(__file__).parents[1] / "embedded/text_kjv7_tokenizer.json"
}


class Tokenizer(TextTokenizer):
  """GPT-2's byte-level BPE with RoBERTa's ids.

  Ids: <s> 0, <pad> 1, </s> 2, <unk> 3, the pieces, and <mask> last. Any text
  can be encoded. A special token's name within a text is text like any other:
  no input can smuggle in a <mask> or an </s>. No space is put before a text.

  Args:
    tokens: the tokens by id; pieces in GPT-2's spelling of bytes.
    merges: pairs of pieces, in order of preference.

  Raises:
    ValueError: special tokens with other ids, or a token twice.

  Source: data2vec (arXiv 2202.03555) section 4.3, GPT-2's BPE as in RoBERTa.
  """

  def __init__(self, tokens: Sequence[str], merges: Sequence[Merge]):
    if tuple(tokens[:4]) != SPECIALS or tokens[-1] != MASK:
      raise ValueError(
        f"Tokenizer: tokens must begin with {' '.join(SPECIALS)} and end with "
        f"{MASK}, got {' '.join(tokens[:4])} ... {tokens[-1]}"
      )
    if len(set(tokens)) != len(tokens):
      raise ValueError("Tokenizer: a token is there twice")
    self._tokens = tuple(tokens)
    self._merges = tuple(merges)
    vocab = {t: i for i, t in enumerate(tokens[4:-1], 4)}
    pieces = dict.fromkeys(
      sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    )
    for left, right in merges:
      pieces |= dict.fromkeys((left, right, left + right))
    # What the merges can make without its being a token becomes <unk>.
    missing = [piece for piece in pieces if piece not in vocab]
    self._whole = not missing
    vocab |= {t: i for i, t in enumerate(missing, len(tokens))}
    self._bpe = _byte_level(vocab, self._merges)

  def __reduce__(self) -> tuple[Any, ...]:
    return Tokenizer, (self._tokens, self._merges)

  @property
  def vocab_size(self) -> int:
    """Number of ids, special tokens included."""
    return len(self._tokens)

  @property
  def fingerprint(self) -> str:
    """Identifies the mapping from text to ids, whatever files it came from."""
    content = json.dumps([self._tokens, self._merges])
    return hashlib.sha256(content.encode()).hexdigest()[:16]

  def encode_flat(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Encodes texts on all cores; the library's threads leave Python's free.

    Args:
      texts: any strings.

    Returns:
      The ids of all, one text after the other, int32 [sum of n]; and how many
      each text has, int64 [number of texts].
    """
    texts = [without_lone_surrogates(text) for text in texts]
    encoded = self._bpe.encode_batch_fast(texts, add_special_tokens=False)
    flat, lengths = flattened(encoded)
    flat[flat >= self.vocab_size] = UNK
    return flat, lengths

  def decode(self, ids: Iterable[int]) -> str:
    """Returns the text of ids; special tokens are left out.

    Args:
      ids: integers [n].

    Raises:
      ValueError: an id is not in the vocabulary.
    """
    ids = self._checked(ids)
    pieces = ids[(ids >= len(SPECIALS)) & (ids < self.vocab_size - 1)]
    decoder = tokenizers.decoders.ByteLevel()
    return decoder.decode([self._tokens[i] for i in pieces])

  def save(self, path: str | os.PathLike[str]) -> None:
    """Writes a tokenizer.json that `load` and other libraries read.

    Args:
      path: the file; there must be none.

    Raises:
      ValueError: the file exists, or pieces of this tokenizer are no tokens.
    """
    path = pathlib.Path(path)
    if path.exists():
      raise ValueError(
        f"Tokenizer.save: {path} exists; remove it or choose another name"
      )
    if not self._whole:
      raise ValueError(
        "Tokenizer.save: some bytes or merges have no id of their own; keep "
        "the files that this tokenizer was read from"
      )
    vocab = {token: i for i, token in enumerate(self._tokens)}
    complete = _byte_level(vocab, self._merges)
    complete.add_special_tokens([*SPECIALS, MASK])
    unfinished = path.with_name(f"{path.name}.partial")
    unfinished.write_text(complete.to_str(), encoding="utf-8")
    unfinished.replace(path)


def load(
  path: str | os.PathLike[str] | None = None, *, name: str | None = None
) -> TextTokenizer:
  """Reads a tokenizer.

  Args:
    path: a tokenizer.json (this module's or RoBERTa's), or a folder with one
      of: tokenizer.json; vocab.json and merges.txt (RoBERTa's, or GPT-2's,
      whose ids move up by the four special tokens); encoder.json, vocab.bpe
      and dict.txt (fairseq's, which has its ids from dict.txt); tokenizer.json
      of any kind with order.json, as imports have it.
    name: instead of `path`, an embedded tokenizer: 'kjv', 2000 tokens.

  Raises:
    ValueError: not one of the two is given, files are missing, are not a
      byte-level BPE, or have other ids than RoBERTa's.
  """
  if (path is None) == (name is None):
    raise ValueError(
      f"tokenizer: give either path or name, got path={path!r}, name={name!r}"
    )
  if path is None:
    if name not in _EMBEDDED:
      raise ValueError(
        f"tokenizer: unknown name {name!r}; choose one of: "
        f"{', '.join(sorted(_EMBEDDED))}, or set path"
      )
    path = _EMBEDDED[name]
  path = pathlib.Path(path)
  if (path / foreign_tokenizer.ORDER).exists():
    return foreign_tokenizer.read(path)
  return Tokenizer(*tokenizer_files.read(path))


def train(texts: Iterable[str], vocab_size: int) -> Tokenizer:
  """Trains a byte-level BPE; the same texts give the same tokenizer.

  Args:
    texts: such as lines.
    vocab_size: number of ids, the five special tokens included.

  Raises:
    ValueError: fewer than 261 ids, or more than the texts can give.
  """
  if vocab_size < SMALLEST_VOCABULARY:
    raise ValueError(
      f"tokenizer: vocab_size must be >= {SMALLEST_VOCABULARY} (256 bytes and "
      f"5 special tokens), got {vocab_size}"
    )
  bpe = _byte_level({}, ())
  trainer = tokenizers.trainers.BpeTrainer(
    vocab_size=vocab_size - 1,  # without <mask>
    special_tokens=list(SPECIALS),
    initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
    show_progress=False,
  )
  bpe.train_from_iterator(texts, trainer)
  model = json.loads(bpe.to_str())["model"]
  num_tokens = len(model["vocab"]) + 1
  if num_tokens < vocab_size:
    raise ValueError(
      f"tokenizer: the text gives only {num_tokens} tokens of vocab_size="
      f"{vocab_size}; give more text or set vocab_size={num_tokens}"
    )
  tokens = sorted(model["vocab"], key=model["vocab"].get)
  return Tokenizer([*tokens, MASK], [tuple(m) for m in model["merges"]])


def main(argv: list[str] | None = None) -> int:
  """Runs the command line; returns the exit status."""
  parser = argparse.ArgumentParser(
    prog="d2v tokenizer",
    description=_HELP,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument("out", metavar="OUT", help="the file to write")
  documents.add_arguments(parser)
  parser.add_argument(
    "--vocab_size", type=int, default=8000, metavar="N", help="default 8000"
  )
  args = parser.parse_args(argv)
  try:
    if pathlib.Path(args.out).exists():  # not only after the training
      raise ValueError(f"{args.out} exists; remove it or choose another name")
    read = documents.read(args.files, args.column, args.split)
    texts = (text for document in read for text in document)
    trained = train(texts, args.vocab_size)
    trained.save(args.out)
  except (ValueError, OSError) as error:
    print(f"error: {error}", file=sys.stderr)
    return 2
  print(
    f"wrote {args.out}: {trained.vocab_size} tokens, fingerprint "
    f"{trained.fingerprint}; set encoder.vocab_size={trained.vocab_size}"
  )
  return 0


def _byte_level(
  vocab: dict[str, int], merges: Sequence[Merge]
) -> tokenizers.Tokenizer:
  model = tokenizers.models.BPE(vocab=vocab, merges=list(merges))
  made = tokenizers.Tokenizer(model)
  made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(
    add_prefix_space=False
  )
  made.decoder = tokenizers.decoders.ByteLevel()
  return made
