"""Token sequences to train on and to evaluate: one of each text, or packed."""

import logging
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from d2v_jax.data.layout import BOS, EOS
from d2v_jax.data.source import Example
from d2v_jax.data.text import packing as packing_lib
from d2v_jax.data.text import tokenizer as tokenizer_lib
from d2v_jax.data.text.sources import TextSource
from d2v_jax.data.text.token_cache import Tokens
from d2v_jax.data.text.tokenizing import TextTokenizer

_CHUNK = 4096  # records tokenised at once


def cut(tokens: np.ndarray, length: int) -> np.ndarray:
  """Drops what is too long from the end, but keeps the last token.

  Args:
    tokens: int32 [n].
    length: the most tokens to keep.

  Returns:
    int32 [min(n, length)].
  """
  if len(tokens) <= length:
    return tokens
  return np.append(tokens[: length - 1], tokens[-1])


class Texts:
  """Each record alone: <s> A </s>, or <s> A </s></s> B </s> for a pair.

  Everything is tokenised at once and kept in memory; worker processes need no
  tokenizer. Records without any text are left out.

  Args:
    source: records of text.
    tokenizer: arguments of `tokenizer.load`, {"path": ...} or {"name": ...}.
    vocab_size: of the model; must be the tokenizer's.
    max_tokens: longer sequences are cut at the end, but end in </s>.

  Attributes:
    lengths: tokens of each sequence, int64 [n].
    left_out: number of records without text.
    unreadable: of the source, name -> why it cannot be read.
    class_names: of the source; empty when it is unlabelled.

  Raises:
    ValueError: another vocabulary size, fewer than 3 tokens, a source of packed
      tokens, or one without any text.

  Source: data2vec (arXiv 2202.03555) section 5.3, RoBERTa's format of pairs.
  """

  def __init__(
    self,
    source: TextSource,
    tokenizer: Mapping[str, str],
    vocab_size: int,
    max_tokens: int = 512,
  ):
    if isinstance(source, Tokens):
      raise ValueError(
        "Texts: packed tokens are for pretraining; use a source of texts, such "
        "as lines, table or tfds"
      )
    if max_tokens < 3:
      raise ValueError(f"Texts: max_tokens must be >= 3, got {max_tokens}")
    loaded = _load(tokenizer, vocab_size)
    self._source = source
    self._records: list[int] = []
    self._labels: list[Any] = []
    self._num_cut, self._cut_tokens = 0, 0
    sequences = self._sequences(loaded, max_tokens)
    self._tokens = packing_lib.TokenBlocks(sequences, vocab_size)
    self.lengths = self._tokens.lengths
    self.left_out = len(source) - len(self._records)
    self.unreadable = _unreadable(source)
    self.class_names = source.class_names
    if not self._records:
      raise ValueError(f"Texts: none of the {len(source)} records has text")
    if self.left_out:
      logging.warning(
        "left out %d of %d records, which have no text",
        self.left_out,
        len(source),
      )
    if self._num_cut:
      total = self._cut_tokens + int(self.lengths.sum())
      logging.warning(
        "cut %d of %d texts to max_tokens=%d: %.0f %% of all tokens are left "
        "out",
        self._num_cut,
        len(self),
        max_tokens,
        100 * self._cut_tokens / total,
      )

  def __len__(self) -> int:
    return len(self._records)

  def __getitem__(self, index: int) -> Example:
    """Returns 'tokens' int32 [n], 'label' if any, 'requested' and 'record'."""
    example = {
      "tokens": self._tokens[index],
      "requested": index,
      "record": index,
    }
    if self._labels:
      example["label"] = self._labels[index]
    return example

  def record_name(self, index: int) -> str:
    """Returns the source's name of what item `index` was made of."""
    return self._source.record_name(self._records[index])

  def _sequences(
    self, tokenizer: TextTokenizer, max_tokens: int
  ) -> Iterator[np.ndarray]:
    """Yields token sequences, and notes their records and labels."""
    for first in range(0, len(self._source), _CHUNK):
      texts = []
      for i in range(first, min(first + _CHUNK, len(self._source))):
        record = self._source[i]
        parts = [record[k].strip() for k in ("text", "text_b") if k in record]
        if not any(parts):
          continue
        texts.append(parts)
        self._records.append(i)
        if "label" in record:
          self._labels.append(record["label"])
      ids = iter(tokenizer.encode_batch([part for p in texts for part in p]))
      for parts in texts:
        whole = _sequence([next(ids) for _ in parts], tokenizer.pair_separators)
        if len(whole) > max_tokens:
          self._num_cut += 1
          self._cut_tokens += len(whole) - max_tokens
        yield cut(whole, max_tokens)


class PackedTexts:
  """Blocks packed in memory, as training examples.

  Args:
    blocks: token sequences.
    unreadable: what they could not be made of, name -> why it cannot be read.

  Attributes:
    lengths: tokens of each block, int64 [n].
  """

  def __init__(
    self, blocks: packing_lib.TokenBlocks, unreadable: Mapping[str, str]
  ):
    self._blocks = blocks
    self.unreadable = unreadable
    self.lengths = blocks.lengths

  def __len__(self) -> int:
    return len(self.lengths)

  def __getitem__(self, index: int) -> Example:
    """Returns 'tokens' int32 [n], 'requested' and 'record'."""
    at = {"requested": index, "record": index}
    return {"tokens": self._blocks[index], **at}

  def record_name(self, index: int) -> str:
    """Returns for example 'block[3]'."""
    return f"block[{index}]"


def training_texts(
  source: TextSource | Tokens,
  tokenizer: Mapping[str, str],
  vocab_size: int,
  max_tokens: int = 512,
  packing: str | None = None,
  longest: int | None = None,
) -> Texts | PackedTexts | Tokens:
  """Makes token sequences to train on.

  Args:
    source: texts, or tokens that are packed already.
    tokenizer: arguments of `tokenizer.load`, {"path": ...} or {"name": ...};
      for packed tokens, the one that they were made with.
    vocab_size: of the model; must be the tokenizer's.
    max_tokens: the most tokens of a sequence.
    packing: None: each record alone with its label, to fine-tune on. A rule of
      `packing.blocks`: blocks of tokens without labels, to pretrain on. Packed
      tokens have a rule already; None or the same are right for them.
    longest: tokens of the blocks that are packed here, where that is less: what
      a batch would not hold is another block, and not cut off.

  Returns:
    A source of {'tokens': int32 [n], 'requested': i, 'record': i} and, of
    labelled records alone, 'label'; with `lengths` int64.

  Raises:
    ValueError: another vocabulary size, tokens of another tokenizer, length or
      rule, an unknown rule, or no text.
  """
  if isinstance(source, Tokens):
    _check_packed(source, _load(tokenizer, vocab_size), max_tokens, packing)
    return source
  if packing is None:
    return Texts(source, tokenizer, vocab_size, max_tokens)
  loaded = _load(tokenizer, vocab_size)
  size = min(max_tokens, longest or max_tokens)
  blocks = packing_lib.pack(source.documents(), loaded, size, packing)
  if not len(blocks):
    raise ValueError("training_texts: the source has no text")
  return PackedTexts(blocks, _unreadable(source))


def _unreadable(source: TextSource) -> Mapping[str, str]:
  found: Mapping[str, str] = getattr(source, "unreadable", {})
  return found


def _load(tokenizer: Mapping[str, str], vocab_size: int) -> TextTokenizer:
  loaded = tokenizer_lib.load(**tokenizer)
  if loaded.vocab_size != vocab_size:
    raise ValueError(
      f"vocab_size={vocab_size}, but the tokenizer {dict(tokenizer)} has "
      f"{loaded.vocab_size} tokens; set encoder.vocab_size={loaded.vocab_size}"
    )
  return loaded


def _check_packed(
  source: Tokens, tokenizer: TextTokenizer, max_tokens: int, packing: str | None
) -> None:
  for name, had, asked in (
    ("vocab_size", source.vocab_size, tokenizer.vocab_size),
    ("tokenizer fingerprint", source.fingerprint, tokenizer.fingerprint),
    ("packing rule", source.rule, packing or source.rule),
    ("block_size", source.block_size, min(source.block_size, max_tokens)),
  ):
    if had != asked:
      raise ValueError(
        f"training_texts: the packed tokens of {source.path} have {name} "
        f"{had}, but the config asks for {asked}; change the config, or pack "
        "the text again with d2v pack"
      )


def _sequence(parts: list[np.ndarray], separators: int) -> np.ndarray:
  """Returns <s> A </s>, or of a pair <s> A </s> </s> B </s>.

  Args:
    parts: ids of the texts.
    separators: how many </s> stand between two.
  """
  end = np.array([EOS], np.int32)
  pieces = [np.array([BOS], np.int32), parts[0], end]
  for part in parts[1:]:
    pieces += [*[end] * (separators - 1), part, end]
  return np.concatenate(pieces)
