"""Blocks of tokens for pretraining: sentences packed up to a length."""

import argparse
import collections
import itertools
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from d2v_jax.data.layout import BOS, EOS
from d2v_jax.data.text import documents as documents_lib
from d2v_jax.data.text import token_cache
from d2v_jax.data.text import tokenizer as tokenizer_lib
from d2v_jax.data.text.tokenizing import TextTokenizer

RULES = ("complete", "documents", "none")

_HELP = """\
Tokenises texts and packs them into blocks, once, for the source 'tokens'.

  d2v pack tokens books --tokenizer=tokenizer.json --block_size=128

Rules: 'documents', as many whole sentences as fit, never of two documents;
'complete', the same across documents; 'none', every block is full.
"""

_CHUNK = 1_000_000  # characters tokenised at once
_AHEAD = 2  # such chunks: one is taken over from the library, one is in it
_REPORT_SECONDS = 10


class TokenBlocks:
  """Sequences of tokens of different lengths, in one flat array.

  Args:
    blocks: ids, int32 [n] each; read once.
    vocab_size: number of ids.

  Attributes:
    lengths: tokens of each block, int64 [number of blocks].
  """

  def __init__(self, blocks: Iterable[np.ndarray], vocab_size: int):
    dtype = token_cache.dtype_of(vocab_size)
    content, lengths = bytearray(), []
    for block in blocks:
      content += block.astype(dtype).tobytes()
      lengths.append(len(block))
    self._flat = np.frombuffer(content, dtype)
    self.lengths: np.ndarray = np.array(lengths, np.int64)
    self._ends = np.cumsum(self.lengths)

  def __len__(self) -> int:
    return len(self.lengths)

  def __getitem__(self, index: int) -> np.ndarray:
    """Returns the ids of a block, int32 [n]."""
    end = self._ends[index]
    return self._flat[end - self.lengths[index] : end].astype(np.int32)


def pack(
  documents: Iterable[list[str]],
  tokenizer: TextTokenizer,
  block_size: int,
  rule: str,
) -> TokenBlocks:
  """Tokenises documents and packs them, all in memory.

  Args:
    documents: the sentences of each.
    tokenizer: what makes tokens of them.
    block_size: the most tokens of a block, <s> included.
    rule: see `blocks`.

  Raises:
    ValueError: as `blocks`.
  """
  packed = blocks(tokenized(documents, tokenizer), block_size, rule)
  return TokenBlocks(packed, tokenizer.vocab_size)


def tokenized(
  documents: Iterable[list[str]], tokenizer: TextTokenizer
) -> Iterator[list[np.ndarray]]:
  """Yields each document's sentences as tokens, int32 [n], </s> at the end.

  All cores tokenise what comes next while the caller works on what is there.
  """
  made: collections.deque[Future[list[list[np.ndarray]]]] = collections.deque()
  with ThreadPoolExecutor(_AHEAD, "tokens") as threads:
    for chunk in _chunks(documents):
      made.append(threads.submit(_tokenized_chunk, chunk, tokenizer))
      if len(made) > _AHEAD:
        yield from made.popleft().result()
    while made:
      yield from made.popleft().result()


def _tokenized_chunk(
  chunk: list[list[str]], tokenizer: TextTokenizer
) -> list[list[np.ndarray]]:
  sentences = [sentence for document in chunk for sentence in document]
  flat, lengths = tokenizer.encode_flat(sentences)
  ends = np.cumsum(lengths)
  flat = np.insert(flat, ends, np.int32(EOS))
  bounds = [0, *(ends + np.arange(1, len(ends) + 1)).tolist()]
  pieces = (flat[a:b] for a, b in itertools.pairwise(bounds))
  return [[next(pieces) for _ in document] for document in chunk]


def blocks(
  documents: Iterable[list[np.ndarray]], block_size: int, rule: str
) -> Iterator[np.ndarray]:
  """Packs sentences into blocks, each beginning with <s>.

  Args:
    documents: the sentences of each as ids, each ending in </s>.
    block_size: the most tokens of a block, <s> included.
    rule: 'documents': as many whole sentences as fit, never of two documents;
      'complete': the same across documents, with one more </s> between two;
      'none': every block is full, the stream (with that </s>) cut anywhere.

  Yields:
    Ids, int32 [2 < n <= block_size].

  Raises:
    ValueError: unknown rule, or blocks too short for two tokens after <s>.

  Source: the reference's break modes complete_doc, complete and none. Where it
  makes an over-long block of a sentence that does not fit in one, we cut that
  sentence into full blocks and a rest, which is not filled up either. Blocks
  with one token after <s> are left out, in the reference only by complete_doc.
  """
  if rule not in RULES:
    raise ValueError(
      f"packing: unknown rule {rule!r}; choose one of: {', '.join(RULES)}"
    )
  if block_size < 3:
    raise ValueError(f"packing: block_size must be >= 3, got {block_size}")
  return _with_start(documents, block_size - 1, rule)


def _with_start(
  documents: Iterable[list[np.ndarray]], room: int, rule: str
) -> Iterator[np.ndarray]:
  groups = _stream if rule == "none" else _whole_sentences
  start = np.array([BOS], np.int32)
  for group in groups(documents, room, rule):
    for first in range(0, len(group), room):
      piece = group[first : first + room]
      if len(piece) > 1:
        yield np.concatenate([start, piece])


def _whole_sentences(
  documents: Iterable[list[np.ndarray]], room: int, rule: str
) -> Iterator[np.ndarray]:
  """Yields runs of sentences that fit, and single ones that do not."""
  group: list[np.ndarray] = []
  size = 0
  for sentences in _separated(documents, rule):
    for sentence in sentences:
      if group and size + len(sentence) > room:
        yield np.concatenate(group)
        group, size = [], 0
      group.append(sentence)
      size += len(sentence)
    if group and rule == "documents":
      yield np.concatenate(group)
      group, size = [], 0
  if group:
    yield np.concatenate(group)


def _stream(
  documents: Iterable[list[np.ndarray]], room: int, rule: str
) -> Iterator[np.ndarray]:
  """Yields whole multiples of `room`, and the rest."""
  rest = np.zeros(0, np.int32)
  for sentences in _separated(documents, rule):
    rest = np.concatenate([rest, *sentences])
    full = len(rest) // room * room
    yield rest[:full]
    rest = rest[full:]
  yield rest


def _separated(
  documents: Iterable[list[np.ndarray]], rule: str
) -> Iterator[list[np.ndarray]]:
  """Puts </s> between documents, unless blocks end with them anyway."""
  separator: list[np.ndarray] = []
  for sentences in documents:
    yield [*separator, *sentences]
    if rule != "documents":
      separator = [np.array([EOS], np.int32)]


def _chunks(documents: Iterable[list[str]]) -> Iterator[list[list[str]]]:
  chunk, size = [], 0
  for document in filter(None, documents):
    chunk.append(document)
    size += sum(map(len, document))
    if size >= _CHUNK:
      yield chunk
      chunk, size = [], 0
  if chunk:
    yield chunk


def main(argv: list[str] | None = None) -> int:
  """Runs the command line; returns the exit status."""
  parser = argparse.ArgumentParser(
    prog="d2v pack",
    description=_HELP,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument("out", metavar="OUT", help="the folder to write")
  documents_lib.add_arguments(parser)
  parser.add_argument(
    "--tokenizer", required=True, help="a path, or 'kjv' for the embedded one"
  )
  parser.add_argument(
    "--block_size",
    type=int,
    default=512,
    metavar="N",
    help="the most tokens of a block; default 512",
  )
  parser.add_argument(
    "--rule", choices=RULES, default="documents", help="default documents"
  )
  parser.add_argument(
    "--force", action="store_true", help="replace blocks written earlier"
  )
  args = parser.parse_args(argv)
  embedded = args.tokenizer == "kjv"
  try:
    token_cache.check_free(args.out, args.force)  # not only after the work
    tokenizer = tokenizer_lib.load(
      **{"name" if embedded else "path": args.tokenizer}
    )
    read = documents_lib.read(args.files, args.column, args.split)
    packed = blocks(tokenized(read, tokenizer), args.block_size, args.rule)
    summary = token_cache.write(
      args.out,
      _reported(packed),
      vocab_size=tokenizer.vocab_size,
      fingerprint=tokenizer.fingerprint,
      block_size=args.block_size,
      rule=args.rule,
      force=args.force,
    )
  except (ValueError, OSError) as error:
    print(f"error: {error}", file=sys.stderr)
    return 2
  print(f"wrote {args.out}: {_count(summary['blocks'], summary['tokens'])}")
  return 0


def _reported(packed: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
  """Hands blocks on and tells how far it is."""
  tokens, last = 0, time.monotonic()
  for number, block in enumerate(packed, 1):
    yield block
    tokens += len(block)
    if time.monotonic() - last > _REPORT_SECONDS:
      last = time.monotonic()
      print(_count(number, tokens), file=sys.stderr, flush=True)


def _count(number: int, tokens: int) -> str:
  return f"{number:,} blocks, {tokens:,} tokens"
