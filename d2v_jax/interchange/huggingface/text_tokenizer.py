"""Tokenizer files of Hugging Face <-> ours."""

import json
import pathlib
import tempfile
from collections.abc import Mapping
from typing import Any

from d2v_jax.data.layout import BOS, EOS
from d2v_jax.data.text import foreign_tokenizer
from d2v_jax.data.text import tokenizer as tokenizer_lib
from d2v_jax.data.text.tokenizer_files import MASK, SPECIALS
from d2v_jax.data.text.tokenizing import TextTokenizer
from d2v_jax.interchange.files import MOST_TOKENIZER, Folder, to_json
from d2v_jax.interchange.weights import InterchangeError

# Where they are in `Model.files`, and so beside a run.
FOLDER = "tokenizer"
_JSON = "tokenizer.json"
_CONFIG = "tokenizer_config.json"
_PAIR = ("vocab.json", "merges.txt")
_TOKENS = dict(
  bos_token="<s>",
  cls_token="<s>",
  eos_token="</s>",
  sep_token="</s>",
  pad_token="<pad>",
  unk_token="<unk>",
  mask_token="<mask>",
)


def read(
  folder: Folder, vocab_size: int
) -> tuple[dict[str, Any], dict[str, bytes], list[str]]:
  """The tokenizer of a folder, if ours can read it.

  Returns:
    config.data with `tokenizer`, files to put beside the run, and notes; of
    the first two nothing where there is none that fits.
  """
  for names in ((_JSON,), _PAIR):
    if all(folder.has(name) for name in names):
      files = {f"{FOLDER}/{name}": folder.read(name) for name in names}
      break
  else:
    return {}, {}, ["there is no tokenizer: set config.data.tokenizer"]
  try:
    size = _load(files).vocab_size
    if reason := _other_ids(folder):
      return {}, {}, [f"its tokenizer was left out: {reason}"]
  except (ValueError, TypeError, LookupError, AttributeError) as e:
    return {}, {}, [f"its tokenizer was left out: {e}"]
  if size != vocab_size:
    note = f"its tokenizer was left out: it has {size} tokens, not {vocab_size}"
    return {}, {}, [note]
  return {"tokenizer": {"path": FOLDER}}, files, []


def of_run(spec: Mapping[str, str]) -> dict[str, bytes]:
  """Files of the tokenizer of a run, for `Model.files`.

  Args:
    spec: config.data.tokenizer, a `name` or a `path`.

  Raises:
    ValueError: there is no such tokenizer.
  """
  loaded = tokenizer_lib.load(**spec)
  with tempfile.TemporaryDirectory() as made:
    path = pathlib.Path(made) / _JSON
    try:
      loaded.save(path)
    except ValueError:  # not every piece has a number: only its own files do
      path = pathlib.Path(spec["path"])
    if path.is_file():
      return {f"{FOLDER}/{_JSON}": path.read_bytes()}
    return {
      f"{FOLDER}/{p.name}": p.read_bytes() for p in sorted(path.iterdir())
    }


def is_foreign(files: Mapping[str, bytes]) -> bool:
  """Whether a tokenizer has its ids in another order than the models here."""
  return f"{FOLDER}/{foreign_tokenizer.ORDER}" in files


def write(files: Mapping[str, bytes], max_tokens: int) -> dict[str, bytes]:
  """The same for a folder of Hugging Face; {} where there are none.

  Args:
    files: as in `Model.files`.
    max_tokens: longest input of the model.
  """
  there = {
    name.removeprefix(f"{FOLDER}/"): content
    for name, content in files.items()
    if name.startswith(f"{FOLDER}/")
  }
  config = dict(_TOKENS, model_max_length=max_tokens, add_prefix_space=False)
  if _JSON in there:
    content = json.loads(there[_JSON])
    # <s> A </s>, and <s> A </s> </s> B </s>, which our data adds by itself.
    content["post_processor"] = {
      "type": "RobertaProcessing",
      "sep": ["</s>", EOS],
      "cls": ["<s>", BOS],
      "trim_offsets": True,
      "add_prefix_space": False,
    }
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    written = json.dumps(content, ensure_ascii=False).encode()
    return {_JSON: written, _CONFIG: to_json(config)}
  if set(_PAIR) <= there.keys():
    config["tokenizer_class"] = "RobertaTokenizer"
    pair = {name: there[name] for name in _PAIR}
    return {**pair, _CONFIG: to_json(config)}
  return {}


def _other_ids(folder: Folder) -> str:
  """Why the folder's tokenizer gives other ids than ours would; '' if none."""
  config = folder.json(_CONFIG) if folder.has(_CONFIG) else {}
  for name in ("add_prefix_space", "do_lower_case", "auto_map"):
    if config.get(name):
      return f"{_CONFIG}: {name}={config[name]!r}, and ours does not do that"
  if not folder.has(_JSON):
    return ""
  content = folder.json(_JSON, most=MOST_TOKENIZER)
  specials = {*SPECIALS, MASK}
  for entry in content.get("added_tokens") or []:
    if (token := entry["content"]) not in specials:
      return f"{_JSON}: added_tokens has {token!r}, and ours looks for no such"
  made = around(content.get("post_processor"))
  if made != (
    ("<s>", "A", "</s>"),
    ("<s>", "A", "</s>", "</s>", "B", "</s>"),
  ):
    kind = (content.get("post_processor") or {}).get("type")
    return (
      f"{_JSON}: post_processor {kind!r} does not put <s> and </s> around a "
      "text, and </s></s> between two"
    )
  return ""


def around(processor: Any) -> tuple[tuple[str, ...], ...]:
  """What a post-processor makes of one text A, and of two, A and B."""
  if not isinstance(processor, dict):
    return ("A",), ("A", "B")
  kind = processor.get("type")
  if kind == "Sequence":
    parts = [around(p) for p in processor.get("processors", [])]
    return next((p for p in parts if len(p[0]) > 1), (("A",), ("A", "B")))
  if kind in ("RobertaProcessing", "BertProcessing"):
    cls, sep = processor["cls"][0], processor["sep"][0]
    between = (sep, sep) if kind == "RobertaProcessing" else (sep,)
    return (cls, "A", sep), (cls, "A", *between, "B", sep)
  if kind == "TemplateProcessing":
    one, two = (
      tuple(part["id"] for piece in processor[name] for part in piece.values())
      for name in ("single", "pair")
    )
    return one, two
  return ("A",), ("A", "B")


def _load(files: Mapping[str, bytes]) -> TextTokenizer:
  with tempfile.TemporaryDirectory() as made:
    for name, content in files.items():
      path = pathlib.Path(made) / pathlib.PurePosixPath(name).name
      path.write_bytes(content)
    try:
      return tokenizer_lib.load(made)
    except ValueError as e:
      message = str(e).replace(f"{made}/", "").replace(made, "the folder")
      raise InterchangeError(message) from e
