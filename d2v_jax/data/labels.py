"""Labels of examples: what supervised objectives learn and evaluators score."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

# fairseq's LibriSpeech dictionary: by frequency, the word boundary first.
CHARACTERS = "|ETAONIHSRDLUMWCFGYPBVK'XJQZ"
_BOUNDARY = "|"
_CASES = {"upper": str.upper, "lower": str.lower, None: str}


@dataclasses.dataclass(frozen=True)
class RecordLabel:
  """The label that comes with a record: a class number or a score."""

  def __call__(self, record: Mapping[str, Any]) -> np.ndarray:
    """Label of a record.

    Args:
      record: with `label`, an integer (a class) or a float (a score).

    Returns:
      Scalar, int32 or float32.

    Raises:
      ValueError: if there is no label, or it is something else.
    """
    value = np.asarray(_field(record, "label", "RecordLabel"))
    if value.ndim == 0 and np.issubdtype(value.dtype, np.integer):
      return value.astype(np.int32)
    if value.ndim == 0 and np.issubdtype(value.dtype, np.floating):
      return value.astype(np.float32)
    raise ValueError(
      f"RecordLabel: the label{_of(record)} is {record['label']!r}; it must be "
      "one integer (class number) or one float (score)."
    )


@dataclasses.dataclass(frozen=True)
class Characters:
  """A transcript as character numbers for CTC; 0 is the blank.

  A word boundary follows every word, the last one included.

  Args:
    max_length: labels of an example, boundaries counted; shorter ones are
      padded with -1.
    characters: each once, the word boundary '|' among them; `characters[i]` has
      number i + 1.
    case: 'upper' or 'lower' is applied to the text first; None leaves it.

  Raises:
    ValueError: for an argument that does not fit.

  Source: released speech code, fine-tuning on LibriSpeech. (There, three more
  special symbols that never occur lie between the blank and the characters.)
  """

  max_length: int
  characters: str = CHARACTERS
  case: str | None = "upper"

  def __post_init__(self):
    if self.max_length < 1:
      raise ValueError(
        f"Characters: max_length must be 1 or more, got {self.max_length}."
      )
    if self.case not in _CASES:
      raise ValueError(
        f"Characters: unknown case {self.case!r}; choose 'upper', 'lower' or "
        "None."
      )
    repeated = sorted(
      {x for x in self.characters if self.characters.count(x) > 1}
    )
    spaces = any(x.isspace() for x in self.characters)
    if _BOUNDARY not in self.characters or repeated or spaces:
      raise ValueError(
        f"Characters: characters must hold '|' and each character once, "
        f"without white space, got {self.characters!r} (repeated: "
        f"{repeated or 'none'})."
      )
    if _CASES[self.case](self.characters) != self.characters:
      raise ValueError(
        f"Characters: characters {self.characters!r} do not fit "
        f"case={self.case!r}, which is applied to every text; change one of "
        "them."
      )

  @property
  def num_outputs(self) -> int:
    """Outputs that a head needs: the characters and the blank."""
    return len(self.characters) + 1

  def ids(self, text: str) -> list[int]:
    """Numbers of a text's characters, 1 to len(characters).

    Args:
      text: words, separated by white space (or by '|').

    Returns:
      For each word its characters and the boundary; [] for a text without
      words.

    Raises:
      ValueError: for a character that is not among them; it gives the
        `characters` that would do.
    """
    return self._ids(text, "")

  def text(self, ids: Sequence[int]) -> str:
    """Words of character numbers, joined by spaces.

    Args:
      ids: blanks (0) and filling (-1) among them are left out.

    Raises:
      ValueError: for a number that no character has.
    """
    ids = [int(i) for i in ids if i > 0]
    if max(ids, default=0) > len(self.characters):
      raise ValueError(
        f"Characters: there is no character number {max(ids)} among "
        f"{self.characters!r}; the model must have num_outputs="
        f"{self.num_outputs}, as in config.objective.head."
      )
    text = "".join(self.characters[i - 1] for i in ids)
    return " ".join(text.replace(_BOUNDARY, " ").split())

  def frames_needed(self, text: str) -> int:
    """Fewest frames that CTC spells a text in: a blank parts equal characters.

    Raises:
      ValueError: as for `ids`.
    """
    ids = self.ids(text)
    repeats = sum(a == b for a, b in itertools.pairwise(ids))
    return len(ids) + repeats

  def __call__(self, record: Mapping[str, Any]) -> np.ndarray:
    """Character numbers of a record's transcript.

    Args:
      record: with `text`.

    Returns:
      int32 [max_length], padded with -1.

    Raises:
      ValueError: if there is no text, or it has a character outside of
        `characters`, or it is too long.
    """
    text = _field(record, "text", "Characters")
    ids = self._ids(text, _of(record))
    if len(ids) > self.max_length:
      raise ValueError(
        f"Characters: the text{_of(record)} has {len(ids)} labels, more than "
        f"max_length={self.max_length}; set config.data.labels.max_length to "
        f"at least {len(ids)}: {text!r}."
      )
    padded = np.full(self.max_length, -1, np.int32)
    padded[: len(ids)] = ids
    return padded

  def _ids(self, text, of):
    words = _CASES[self.case](text).replace(_BOUNDARY, " ").split()
    spelled = "".join(word + _BOUNDARY for word in words)
    outside = "".join(sorted(set(spelled) - set(self.characters)))
    if outside:
      raise ValueError(
        f"Characters: the text{of} has {outside!r}, not among characters "
        f"{self.characters!r}: {text!r}; correct it, or set "
        f"config.data.labels.characters to {self.characters + outside!r}."
      )
    return [self.characters.index(x) + 1 for x in spelled]


Labels = RecordLabel | Characters
LABELS = {"label": RecordLabel, "characters": Characters}


def _field(record, name, where):
  if name not in record:
    raise ValueError(
      f"{where}: the record{_of(record)} has no {name!r}, only "
      f"{', '.join(sorted(record))}; choose a source that has it, or leave "
      "config.data.labels out."
    )
  return record[name]


def _of(record):
  return f" of record {record['record']}" if "record" in record else ""
