"""vocab.json of Hugging Face's CTC models <-> our characters."""

from typing import Any

from d2v_jax.data.labels import Characters
from d2v_jax.interchange.files import Folder, to_json
from d2v_jax.interchange.model import character_labels
from d2v_jax.interchange.options import Options
from d2v_jax.interchange.weights import Arrays, InterchangeError

NAME = "vocab.json"
_CONFIG = "tokenizer_config.json"
_TOKENS = {
  "bos_token": "<s>",
  "eos_token": "</s>",
  "unk_token": "<unk>",
  "pad_token": "<pad>",
  "word_delimiter_token": "|",
}


def read(
  config: Options, folder: Folder
) -> tuple[list[int], dict[str, Any], list[str]]:
  """Which outputs of theirs are ours.

  Args:
    config: config.json.
    folder: that may have vocab.json.

  Returns:
    Their output numbers in our order (the blank, then the characters);
    config.data.labels, {} where the characters are not known; and notes.

  Raises:
    InterchangeError: an output is not one character.
  """
  outputs = config.integer("vocab_size", least=1)
  blank = config.integer("pad_token_id", most=outputs - 1)
  if not folder.has(NAME):
    note = (
      f"there is no {NAME}: which characters the outputs are is not known; set "
      "config.data.labels"
    )
    return [blank, *(i for i in range(outputs) if i != blank)], {}, [note]
  vocab = folder.json(NAME)
  tokens = {**_TOKENS, **_special_tokens(folder)}
  delimiter = tokens.pop("word_delimiter_token")
  specials = set(tokens.values())
  by_number: dict[int, str] = {}
  for token, number in vocab.items():
    if type(number) is not int or number < 0 or number in by_number:
      raise InterchangeError(
        f"{folder.path / NAME}: {token!r} has the number {number!r}; each "
        "must have one of its own, from 0 on."
      )
    by_number[number] = token
  characters = {
    i: "|" if token == delimiter else token
    for i, token in sorted(by_number.items())
    if i != blank and token not in specials
  }
  for i, character in characters.items():
    if len(character) != 1 or i >= outputs:
      raise InterchangeError(
        f"{folder.path / NAME}: {character!r} (number {i} of {outputs}) is not "
        "one character of the model; only such CTC models can be imported."
      )
  labels = character_labels("".join(characters.values()))
  try:
    Characters(**{k: v for k, v in labels.items() if k != "name"})
  except ValueError as e:
    raise InterchangeError(f"{folder.path / NAME}: {e}") from e
  columns = [blank, *characters]
  cut = [by_number.get(i, f"number {i}") for i in range(outputs)]
  cut = [token for i, token in enumerate(cut) if i not in columns]
  notes = []
  if cut:
    notes.append(
      f"outputs for {', '.join(cut)} were cut: they are no characters"
    )
  if columns != list(range(len(columns))):
    notes.append("outputs were reordered: the blank is 0, then the characters")
  return columns, labels, notes


def chosen(arrays: Arrays, columns: list[int], outputs: int) -> Arrays:
  """A model with some outputs of its head, in another order.

  A head that has not as many as there must be is left as it is, and found to
  be misshapen later.
  """
  return {
    k: v[columns] if k.startswith("lm_head.") and len(v) == outputs else v
    for k, v in arrays.items()
  }


def write(labels: Characters) -> dict[str, bytes]:
  """Files of Wav2Vec2CTCTokenizer.

  Args:
    labels: of the run.
  """
  tokens = ["<pad>", *labels.characters]
  lower = labels.case == "lower"
  config = dict(
    _TOKENS,
    tokenizer_class="Wav2Vec2CTCTokenizer",
    do_lower_case=lower,
  )
  return {
    NAME: to_json({token: i for i, token in enumerate(tokens)}),
    _CONFIG: to_json(config),
  }


def _special_tokens(folder: Folder) -> dict[str, str]:
  config = folder.json(_CONFIG) if folder.has(_CONFIG) else {}
  # A token is a string, or an object that describes it.
  names = {
    k: config[k].get("content") if isinstance(config[k], dict) else config[k]
    for k in _TOKENS
    if k in config
  }
  return {k: v for k, v in names.items() if isinstance(v, str)}
