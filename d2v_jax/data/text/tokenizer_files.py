"""The files in which byte-level BPE tokenizers come."""

import pathlib
from typing import Any

from d2v_jax.data.files import bounded

SPECIALS = ("<s>", "<pad>", "</s>", "<unk>")
MASK = "<mask>"

Merge = tuple[str, str]

# Tokens, and merges: several times what the largest ones have.
_MOST = 2**21

# Any of these would divide a text in another way.
_VARIANTS = (
  "dropout",
  "continuing_subword_prefix",
  "end_of_word_suffix",
  "byte_fallback",
  "ignore_merges",
)


def read(path: pathlib.Path) -> tuple[list[str], list[Merge]]:
  """Reads a tokenizer.json, or a folder of RoBERTa, GPT-2 or fairseq.

  Args:
    path: file or folder.

  Returns:
    The tokens by id (<s> <pad> </s> <unk>, ..., <mask>), and the merges.

  Raises:
    ValueError: files are missing, are not a byte-level BPE, or their ids are
      not such.
  """
  if path.is_file():
    return _read_tokenizer_json(path)
  have = {file.name for file in path.iterdir()} if path.is_dir() else set()
  if {"encoder.json", "vocab.bpe", "dict.txt"} <= have:
    vocab = _read_vocab(path / "encoder.json")
    tokens = _fairseq_tokens(path / "dict.txt", vocab)
    return tokens, _read_merges(path / "vocab.bpe")
  if "tokenizer.json" in have:
    return _read_tokenizer_json(path / "tokenizer.json")
  for ids, merges in (
    ("vocab.json", "merges.txt"),
    ("encoder.json", "vocab.bpe"),
  ):
    if {ids, merges} <= have:
      tokens = _ordered(_read_vocab(path / ids), path / ids)
      return tokens, _read_merges(path / merges)
  what = "has no tokenizer" if path.is_dir() else "does not exist"
  raise ValueError(
    f"tokenizer: {path} {what}; path must be a tokenizer.json, or a folder "
    "with tokenizer.json, with vocab.json and merges.txt, or with "
    "encoder.json, vocab.bpe and dict.txt"
  )


def _read_tokenizer_json(path: pathlib.Path) -> tuple[list[str], list[Merge]]:
  content = _read_json(path)
  model = content.get("model") if isinstance(content, dict) else None
  if not isinstance(model, dict) or not {"vocab", "merges"} <= set(model):
    raise ValueError(
      f"tokenizer: {path} is not a tokenizer.json of a BPE: it has no "
      "model.vocab and model.merges"
    )
  splitter = content.get("pre_tokenizer") or {}
  kind = splitter.get("type") if isinstance(splitter, dict) else None
  if kind != "ByteLevel" or content.get("normalizer"):
    raise ValueError(
      f"tokenizer: {path} is not byte-level BPE: its pre_tokenizer must be "
      "ByteLevel and its normalizer null; train one with d2v tokenizer"
    )
  settings = {f"model.{key}": (model.get(key), False) for key in _VARIANTS}
  for key, plain in (("add_prefix_space", False), ("use_regex", True)):
    settings[f"pre_tokenizer.{key}"] = (splitter.get(key, plain), plain)
  for key, (value, plain) in settings.items():
    if bool(value) != plain:
      raise ValueError(
        f"tokenizer: {path}: {key}={value!r} is not supported, only {plain}; "
        "use another tokenizer"
      )
  vocab, added = model["vocab"], content.get("added_tokens") or []
  listed = isinstance(added, list) and isinstance(model["merges"], list)
  if not listed or not all(
    isinstance(t, dict) and {"content", "id"} <= t.keys() for t in added
  ):
    raise ValueError(
      f"tokenizer: {path}: model.merges must be a list, and added_tokens a "
      "list of objects with `content` and `id`"
    )
  merges = [
    tuple(m.split(" ")) if isinstance(m, str) else m for m in model["merges"]
  ]
  _check_vocab(vocab, path)
  vocab = vocab | {f"{t['content']}": t["id"] for t in added}
  return _ordered(_check_vocab(vocab, path), path), _checked(merges, path)


def _ordered(vocab: dict[str, int], path: pathlib.Path) -> list[str]:
  """Returns the tokens by id; adds the special ones to a plain vocabulary."""
  tokens = sorted(vocab, key=vocab.__getitem__)
  for i, token in enumerate(tokens):
    if vocab[token] != i:
      raise ValueError(
        f"tokenizer: {path}: the ids of {len(tokens)} tokens must be 0 to "
        f"{len(tokens) - 1}, each once, but in place of {i} comes "
        f"{vocab[token]} ({token!r})"
      )
  if not set(vocab) & {*SPECIALS, MASK}:
    return [*SPECIALS, *tokens, MASK]
  expected = dict(
    zip((*SPECIALS, MASK), (0, 1, 2, 3, len(tokens) - 1), strict=True)
  )
  got = {token: vocab.get(token) for token in expected}
  if got != expected:
    raise ValueError(
      f"tokenizer: {path}: the special tokens must have the ids {expected}, "
      f"got {got}; train one with d2v tokenizer"
    )
  return tokens


def _fairseq_tokens(path: pathlib.Path, vocab: dict[str, int]) -> list[str]:
  """Returns fairseq's order: dict.txt lists GPT-2 ids, most frequent first."""
  by_id = {str(i): token for token, i in vocab.items()}
  tokens = [*SPECIALS]
  for number, line in enumerate(_read_lines(path), 1):
    word = line.split(" ")[0]
    if word not in by_id and not word.startswith("madeupword"):
      raise ValueError(
        f"tokenizer: {path}:{number}: {word!r} is not an id of encoder.json; "
        "the files do not belong together"
      )
    tokens.append(by_id.get(word, word))
  return [*tokens, MASK]


def _read_vocab(path: pathlib.Path) -> dict[str, int]:
  return _check_vocab(_read_json(path), path)


def _check_vocab(vocab: Any, path: pathlib.Path) -> dict[str, int]:
  if not isinstance(vocab, dict) or not vocab:
    raise ValueError(f"tokenizer: {path} must hold an object token -> id")
  _check_count(len(vocab), "tokens", path)
  for token, number in vocab.items():
    if type(number) is not int:
      raise ValueError(
        f"tokenizer: {path}: the id of {token!r} must be a whole number, got "
        f"{number!r}"
      )
  return vocab


def _check_count(count: int, what: str, path: pathlib.Path) -> None:
  if count > _MOST:
    raise ValueError(
      f"tokenizer: {path} has {count} {what}, more than the {_MOST} that a "
      "tokenizer may have"
    )


def _read_merges(path: pathlib.Path) -> list[Merge]:
  lines = _read_lines(path)
  if lines and lines[0].startswith("#version"):
    lines = lines[1:]
  return _checked([tuple(line.split(" ")) for line in lines], path)


def _checked(merges: list[Any], path: pathlib.Path) -> list[Merge]:
  _check_count(len(merges), "merges", path)
  for merge in merges:
    pieces = merge if isinstance(merge, list | tuple) else ()
    if len(pieces) != 2 or not all(map(_is_text, pieces)):
      shown = " ".join(map(str, pieces)) if pieces else merge
      raise ValueError(
        f"tokenizer: {path}: a merge must be two pieces with a space between "
        f"them, got {shown!r}"
      )
  return [(left, right) for left, right in merges]


def _is_text(piece: Any) -> bool:
  """Whether it can be written; JSON can hold halves of characters."""
  return isinstance(piece, str) and not any(
    "\ud800" <= x <= "\udfff" for x in piece
  )


def _read_lines(path: pathlib.Path) -> list[str]:
  try:
    text = bounded.read_bytes(path).decode("utf-8")
  except (ValueError, OSError) as error:
    raise ValueError(f"tokenizer: {path} cannot be read: {error}") from error
  _check_count(text.count("\n"), "lines", path)
  # Only \n ends a line: pieces may hold other marks that Python knows.
  return [line for line in text.replace("\r\n", "\n").split("\n") if line]


def _read_json(path: pathlib.Path) -> Any:
  try:
    return bounded.read_json(path)
  except (ValueError, OSError) as error:
    raise ValueError(f"tokenizer: {error}") from error
