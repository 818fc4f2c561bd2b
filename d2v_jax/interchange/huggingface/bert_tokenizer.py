"""Tokenizers of BERT's folders, with their ids put into our order."""

import dataclasses
import json
from typing import Any

import tokenizers

from d2v_jax.data.text import foreign_tokenizer
from d2v_jax.interchange.files import MOST_TOKENIZER, Folder
from d2v_jax.interchange.huggingface.text_tokenizer import FOLDER, around
from d2v_jax.interchange.weights import InterchangeError

_JSON = "tokenizer.json"
_VOCABULARY = "vocab.txt"
_CONFIG = "tokenizer_config.json"
# In our order: the beginning, padding, the end, unknown; the mask comes last.
_SPECIAL = {
  "cls_token": "[CLS]",
  "pad_token": "[PAD]",
  "sep_token": "[SEP]",
  "unk_token": "[UNK]",
  "mask_token": "[MASK]",
}


@dataclasses.dataclass(frozen=True)
class Found:
  """A tokenizer.

  Attributes:
    order: our id -> its id.
    files: to put beside the run.
  """

  order: list[int]
  files: dict[str, bytes]


def read(folder: Folder) -> Found:
  """The tokenizer of a folder: tokenizer.json, or WordPiece's vocab.txt.

  Raises:
    InterchangeError: there is none, or it puts other tokens around texts.
  """
  config = folder.json(_CONFIG) if folder.has(_CONFIG) else {}
  if config.get("auto_map"):
    raise InterchangeError(
      f"{folder.path / _CONFIG}: auto_map: code of its own is never run."
    )
  if folder.has(_JSON):
    content = folder.read(_JSON, MOST_TOKENIZER)
  elif folder.has(_VOCABULARY):
    content = _word_piece(folder, config)
  else:
    raise InterchangeError(
      f"{folder.path} has neither {_JSON} nor {_VOCABULARY}, which say what "
      "the rows of the embedding are; download them, too."
    )
  try:
    return _ordered(content.decode(), config)
  except InterchangeError as e:
    raise InterchangeError(f"{folder.path}: {e}") from e
  except (ValueError, TypeError, LookupError, AttributeError) as e:
    raise InterchangeError(
      f"{folder.path}: its tokenizer cannot be read: {e}"
    ) from e


def _ordered(content: str, config: dict[str, Any]) -> Found:
  parsed = json.loads(content)
  special = {
    name: _token(config.get(name), _SPECIAL[name]) for name in _SPECIAL
  }
  cls, pad, sep, unk, mask = special.values()
  one, two = around(parsed.get("post_processor"))
  between = list(two[2:-2])
  if one != (cls, "A", sep) or two[:2] != (cls, "A") or two[-2:] != ("B", sep):
    between = []
  if between not in ([sep], [sep, sep]):
    raise InterchangeError(
      f"{_JSON}: its post_processor makes {' '.join(one)} and {' '.join(two)}, "
      f"and not {cls} A {sep} and {cls} A {sep} B {sep}."
    )
  # What it may be called.
  numbers = dict(parsed["model"]["vocab"])
  numbers |= {t["content"]: t["id"] for t in parsed.get("added_tokens") or []}
  missing = [token for token in special.values() if token not in numbers]
  if missing:
    raise InterchangeError(
      f"{_JSON} has no token {missing[0]}, which has a fixed place here."
    )
  first = [numbers[token] for token in (cls, pad, sep, unk)]
  rest = sorted(set(numbers.values()) - {*first, numbers[mask]})
  order = [*first, *rest, numbers[mask]]
  # Raises where it is none, or ids are not one after the other.
  foreign_tokenizer.ForeignTokenizer(content, order, len(between))
  made = foreign_tokenizer.files(content.encode(), order, len(between))
  return Found(order, {f"{FOLDER}/{k}": v for k, v in made.items()})


def _token(value: Any, usual: str) -> str:
  """A token is a string, or an object that describes it."""
  if isinstance(value, dict):
    value = value.get("content")
  return value if isinstance(value, str) else usual


def _word_piece(folder: Folder, config: dict[str, Any]) -> bytes:
  """A tokenizer.json of the lines of vocab.txt, which are the tokens."""
  lines = folder.read(_VOCABULARY, MOST_TOKENIZER).decode("utf-8")
  tokens = lines.replace("\r\n", "\n").rstrip("\n").split("\n")
  lower = config.get("do_lower_case", True) is True
  strips = config.get("strip_accents")
  made = tokenizers.BertWordPieceTokenizer(
    {token: i for i, token in enumerate(tokens)},
    lowercase=lower,
    strip_accents=strips if isinstance(strips, bool) else None,
    handle_chinese_chars=config.get("tokenize_chinese_chars", True) is True,
  )
  return made.to_str().encode()
