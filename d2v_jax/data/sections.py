"""Steps of a transform that a config describes by a section of their own."""

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")


def built(kind: type[T], choice: T | Mapping[str, Any]) -> T:
  """Returns `choice`, built if it is a config's dict of arguments.

  Args:
    kind: a dataclass.
    choice: one of that kind, or its arguments.

  Raises:
    ValueError: neither of them, or an argument that `kind` has not.
  """
  if isinstance(choice, kind):
    return choice
  name = kind.__name__
  allowed = {f.name for f in dataclasses.fields(kind)}
  if not isinstance(choice, Mapping):
    raise ValueError(f"{name}: got {choice!r}; give a section")
  if set(choice) - allowed:
    raise ValueError(
      f"{name}: unknown fields {sorted(set(choice) - allowed)}; choose "
      f"from: {', '.join(sorted(allowed))}"
    )
  return kind(**choice)
