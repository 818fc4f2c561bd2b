"""The head of fairseq's wav2vec_ctc: characters, and their rows."""

from typing import Any

from d2v_jax.data.labels import CHARACTERS
from d2v_jax.interchange.fairseq.checkpoint import Checkpoint, size, without
from d2v_jax.interchange.options import Options
from d2v_jax.interchange.weights import Arrays

PROJ = "w2v_encoder.proj."
# <s> (the blank), <pad>, </s>, <unk>.
_SPECIALS = 4
# Longer than any sentence; only labels that are longer are an error.
_MAX_LABELS = 1024


def read_head(
  checkpoint: Checkpoint, c: Options
) -> tuple[Arrays, dict[str, Any], dict[str, Any], list[str]]:
  """What a model fine-tuned by CTC has besides its network.

  Args:
    checkpoint: the whole file.
    c: options of the model.

  Returns:
    Weights of blank and characters; config.objective; config.data; and what to
    say about them.
  """
  rows, characters, notes = _characters(checkpoint, c)
  head = without(PROJ, checkpoint.arrays)
  # One that lacks rows is left as it is, for its shape to be named as wrong.
  arrays = {
    f"proj.{k}": v[rows] if len(v) > max(rows) else v for k, v in head.items()
  }
  labels = {
    "name": "characters",
    "characters": characters,
    "case": _case(characters),
    "max_length": _MAX_LABELS,
  }
  objective = {"name": "ctc", "head": {"num_outputs": len(rows)}}
  return arrays, objective, {"labels": labels}, notes


def _characters(checkpoint, c):
  """Rows of the head for blank and characters, these, and what to say."""
  c.require("blank_weight", 0)
  outputs = size(checkpoint, f"{PROJ}weight", 0)
  symbols = checkpoint.symbols("target_dictionary", "dict.ltr.txt")
  notes = []
  if symbols is None:
    if outputs != _SPECIALS + len(CHARACTERS):
      raise checkpoint.error(
        f"its head has {outputs} outputs, and nothing says for which "
        "characters; "
        "give fairseq's dict.ltr.txt (dictionary)"
      )
    symbols = list(CHARACTERS)
    notes.append(
      "no dictionary was found: the 32 outputs are taken for <s>, <pad>, </s>, "
      f"<unk> and {CHARACTERS}, as in fairseq's dictionary of LibriSpeech"
    )
  if outputs != _SPECIALS + len(symbols):
    raise checkpoint.error(
      f"its head has {outputs} outputs, but the dictionary has {len(symbols)} "
      f"symbols beside {_SPECIALS} special ones; they do not belong together"
    )
  kept = {
    symbol: _SPECIALS + i
    for i, symbol in enumerate(symbols)
    if not symbol.startswith("madeupword")
  }
  wrong = [s for s in kept if len(s) != 1 or s.isspace()]
  if wrong or "|" not in kept:
    raise checkpoint.error(
      "only characters can be imported, '|' among them, but its dictionary has "
      f"{', '.join(map(repr, (wrong or list(kept))[:8]))}; the encoder alone "
      "can be imported (encoder_only)"
    )
  notes.append(
    f"{outputs - len(kept) - 1} outputs of the head are cut, which no "
    "transcript has (<pad>, </s>, <unk>)"
  )
  return [0, *kept.values()], "".join(kept), notes


def _case(characters: str) -> str | None:
  if characters == characters.upper():
    return "upper"
  return "lower" if characters == characters.lower() else None
