"""How a transcript is spelled: its normal form, its case, what is replaced."""

import re
import unicodedata
from collections.abc import Iterable

CASES = ("upper", "lower", None)

_DOTLESS = "\u0131"  # the small letter i without a dot

# Letters whose other case is a matter of the language, by the case that is
# asked for, and the language that they are likely to be of.
_OF_A_LANGUAGE = {
  "upper": {_DOTLESS: "tr", "İ": "tr", "ß": "de", "ẞ": "de"},
  "lower": {_DOTLESS: "tr", "İ": "tr"},
  None: {},
}
# Language -> what is replaced in front of Unicode's own rule, by case.
_TWO_LETTERS = {
  "upper": str.maketrans({"i": "İ", _DOTLESS: "I"}),
  "lower": str.maketrans({"İ": "i", "I": _DOTLESS}),
}
_RULES = {
  "az": _TWO_LETTERS,
  "de": {"upper": str.maketrans({"ß": "ẞ"}), "lower": {}},
  "tr": _TWO_LETTERS,
}
_LANGUAGE = re.compile("[a-z]{2,3}")


def check(
  case: str | None, language: str | None, replace: tuple[tuple[str, str], ...]
) -> None:
  """Raises ValueError for rules that are none.

  Args:
    case: see `spelled`.
    language: see `spelled`.
    replace: see `spelled`.
  """
  if case not in CASES:
    raise ValueError(
      f"Characters: unknown case {case!r}; choose 'upper', 'lower' or None."
    )
  if language is not None and not _LANGUAGE.fullmatch(language):
    raise ValueError(
      "Characters: language must be a code such as 'tr' or 'de', got "
      f"{language!r}."
    )
  for pair in replace:
    if len(pair) != 2 or not pair[0]:
      raise ValueError(
        "Characters: replace must have pairs of a text and what stands for it, "
        f"such as (('-', ' '),), got {pair!r}."
      )


def cased(text: str, case: str | None, language: str | None = None) -> str:
  """Returns a text in Unicode's composed normal form (NFC), in one case.

  Args:
    text: any.
    case: 'upper', 'lower', or None to leave it.
    language: code of the language whose rule of case holds: 'tr' and 'az' keep
      i with and without its dot apart, 'de' has a capital sharp s. Others, and
      None, have Unicode's rule.
  """
  text = unicodedata.normalize("NFC", text)
  if case is None:
    return text
  text = text.translate(_RULES.get(language or "", {}).get(case, {}))
  text = text.upper() if case == "upper" else text.lower()
  return unicodedata.normalize("NFC", text)


def spelled(
  text: str,
  case: str | None,
  language: str | None,
  drop: str,
  replace: tuple[tuple[str, str], ...],
) -> str:
  """Returns a text as its characters are counted.

  Args:
    text: any.
    case: see `cased`.
    language: see `cased`.
    drop: characters that are left out, in that case.
    replace: pairs of a text, in that case, and what stands for it, in order.
  """
  text = cased(text, case, language)
  for old, new in replace:
    text = text.replace(old, new)
  return text.translate({ord(character): None for character in drop})


def of_a_language(
  texts: Iterable[str], case: str | None, language: str | None
) -> dict[str, str]:
  """Returns the letters of texts whose case a language must be known for.

  Args:
    texts: transcripts.
    case: that they are put into.
    language: where it is given, there are none.

  Returns:
    Letter -> code of a language that has it.
  """
  known = _OF_A_LANGUAGE[case] if language is None else {}
  found = set().union(*map(set, texts)) & known.keys() if known else set()
  return {letter: known[letter] for letter in sorted(found)}
