"""Labels of examples: what supervised objectives learn and evaluators score."""

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from d2v_jax.data import spelling
from d2v_jax.data.class_sets import ClassSets

# fairseq's LibriSpeech dictionary: by frequency, the word boundary first.
CHARACTERS = "|ETAONIHSRDLUMWCFGYPBVK'XJQZ"
_BOUNDARY = "|"
_SHOWN = 60  # characters of a text that an error shows


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
      "one integer (class number) or one float (score); of several classes use "
      "config.data.labels=dict(name='class_sets', num_classes=...)."
    )


@dataclasses.dataclass(frozen=True)
class Characters:
  """A transcript as character numbers for CTC; 0 is the blank.

  A word boundary follows every word, the last one included. Texts are put into
  Unicode's composed normal form first, so that an accent is the same however it
  was typed.

  Args:
    max_length: labels of an example, boundaries counted; shorter ones are
      padded with -1.
    characters: each once, the word boundary '|' among them; `characters[i]` has
      number i + 1.
    case: 'upper' or 'lower' is what texts are put into; None leaves them.
    language: code of the language whose rule of case holds, see
      `spelling.cased`; None: where a letter depends on it, that is an error.
    drop: characters that are left out of texts, in that case.
    replace: pairs of a text, in that case, and what stands for it, such as
      (("-", " "),).

  Raises:
    ValueError: for an argument that does not fit.

  Source: released speech code, fine-tuning on LibriSpeech. (There, three more
  special symbols that never occur lie between the blank and the characters.)
  """

  max_length: int
  characters: str = CHARACTERS
  case: str | None = "upper"
  language: str | None = None
  drop: str = ""
  replace: tuple[tuple[str, str], ...] = ()

  def __post_init__(self):
    if self.max_length < 1:
      raise ValueError(
        f"Characters: max_length must be 1 or more, got {self.max_length}."
      )
    spelling.check(self.case, self.language, self.replace)
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
    if self._cased(self.characters) != self.characters:
      raise ValueError(
        f"Characters: characters {self.characters!r} do not fit "
        f"case={self.case!r} and the normal form NFC, which every text is put "
        "into; change one of them."
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

  def check_texts(
    self, texts: Sequence[str], name: Callable[[int], str]
  ) -> None:
    """Raises ValueError with all that is wrong with transcripts, at once.

    Args:
      texts: all that a run will meet.
      name: index of a text -> name of its record.
    """
    letters = spelling.of_a_language(texts, self.case, self.language)
    if letters:
      raise ValueError(
        f"Characters: the texts have {', '.join(letters)}, whose case depends "
        f"on the language, and case={self.case!r}; set config.data.labels."
        f"language, such as {next(iter(letters.values()))!r}, or "
        "config.data.labels.case to None."
      )
    spelled = [self._spelled(text) for text in texts]
    known = set(self.characters)
    outside: dict[str, list[int]] = {}
    for i, text in enumerate(spelled):
      for character in sorted(set(text) - known):
        outside.setdefault(character, []).append(i)
    if outside:
      missing = "".join(sorted(outside))
      first = min(at[0] for at in outside.values())
      counts = ", ".join(f"{c!r} in {len(at)}" for c, at in outside.items())
      raise ValueError(
        f"Characters: {len({i for at in outside.values() for i in at})} of "
        f"{len(texts)} texts have characters that are not among "
        f"{self.characters!r}: {counts}; the first is {name(first)}: "
        f"{texts[first][:_SHOWN]!r}. Leave them out with config.data.labels."
        f"drop={self.drop + missing!r}, let others stand for them with replace "
        f"(pairs, such as (({missing[0]!r}, ' '),)), or add them: "
        f"characters={self.characters + missing!r}."
      )
    lengths = [len(text) for text in spelled]
    if lengths and max(lengths) > self.max_length:
      number = sum(n > self.max_length for n in lengths)
      first = lengths.index(max(lengths))
      raise ValueError(
        f"Characters: {number} of {len(texts)} texts have more labels than "
        f"max_length={self.max_length}; the longest, {name(first)}, has "
        f"{max(lengths)} labels: set config.data.labels.max_length to that."
      )

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

  def _cased(self, text: str) -> str:
    return spelling.cased(text, self.case, self.language)

  def _spelled(self, text: str) -> str:
    """A boundary behind every word."""
    text = spelling.spelled(
      text, self.case, self.language, self.drop, self.replace
    )
    words = text.replace(_BOUNDARY, " ").split()
    return "".join(word + _BOUNDARY for word in words)

  def _ids(self, text, of):
    spelled = self._spelled(text)
    outside = "".join(sorted(set(spelled) - set(self.characters)))
    if outside:
      raise ValueError(
        f"Characters: the text{of} has {outside!r}, not among characters "
        f"{self.characters!r}: {text!r}; correct it, or set "
        f"config.data.labels.characters to {self.characters + outside!r}."
      )
    return [self.characters.index(x) + 1 for x in spelled]


Labels = RecordLabel | ClassSets | Characters
# Of modalities that have no transcripts.
CLASS_LABELS = {"label": RecordLabel, "class_sets": ClassSets}
LABELS = {**CLASS_LABELS, "characters": Characters}


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
