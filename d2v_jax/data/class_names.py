"""Names of classes that are one to a reader, though not to a computer."""

import collections
import re
import unicodedata
from collections.abc import Iterable

_WHOLE = re.compile(r"([+-]?\d+)\.0+")  # a whole number, as tables write floats


def check_alike(names: Iterable[str], owner: str, remedy: str) -> None:
  """Raises ValueError where two classes look the same.

  Args:
    names: of the classes.
    owner: what has them, for the error.
    remedy: what to do about it.
  """
  alike = collections.defaultdict(list)
  for name in names:
    alike[_seen(name)].append(name)
  for same in alike.values():
    if len(same) > 1:
      raise ValueError(
        f"{owner} has the classes {', '.join(map(ascii, same))}, which differ "
        "only in spaces, in how a whole number or an accent is written; "
        f"{remedy}"
      )


def _seen(name: str) -> str:
  name = unicodedata.normalize("NFC", name).strip()
  whole = _WHOLE.fullmatch(name)
  return whole.group(1) if whole else name
