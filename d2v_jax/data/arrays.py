"""Arrays that hold an example in each row: what all modalities share."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

Arrays = Mapping[str, Any]


def taken(
  arrays: Arrays, name: str | None, usual: str, argument: str, owner: str
) -> Any:
  """Returns an array by its name; None where there is none and need not be.

  Args:
    arrays: name -> array, or list.
    name: which one; None for none.
    usual: the name that may be missing.
    argument: that the name was given by, for errors.
    owner: who asks, for errors.

  Raises:
    ValueError: there is no array of a name that is not the usual one.
  """
  if name is None or (name == usual and name not in arrays):
    return None
  return required(arrays, name, argument, owner)


def required(arrays: Arrays, name: str, argument: str, owner: str) -> Any:
  """Returns an array by its name.

  Args:
    arrays: name -> array, or list.
    name: which one.
    argument: that the name was given by, for errors.
    owner: who asks, for errors.

  Raises:
    ValueError: there is none.
  """
  if name not in arrays:
    raise ValueError(
      f"{owner}: there is no array {name!r}, only "
      f"{', '.join(sorted(arrays)) or 'none'}; set {argument} to one of them"
    )
  return arrays[name]


def check_equally_long(found: Mapping[str, Any], owner: str) -> None:
  """Raises ValueError unless all arrays have as many rows, at least one.

  Args:
    found: name -> array; those that are None do not count.
    owner: who asks, for errors.
  """
  lengths = {k: len(v) for k, v in found.items() if v is not None}
  if len(set(lengths.values())) > 1 or not min(lengths.values()):
    listed = ", ".join(f"{name} has {n}" for name, n in lengths.items())
    raise ValueError(
      f"{owner}: arrays must have a row for each example, all as many, at "
      f"least 1: {listed}"
    )


def texts_of(values: Iterable[Any], name: str, owner: str) -> list[str]:
  """Returns texts as such; None is the empty text.

  Args:
    values: text, or bytes in UTF-8.
    name: of the array, for errors.
    owner: who asks, for errors.

  Raises:
    ValueError: a value is something else.
  """
  if isinstance(values, np.ndarray) and values.dtype.kind in "biufc":
    raise ValueError(
      f"{owner}: {name!r} must be texts, got {values.dtype} "
      f"{list(values.shape)}"
    )
  texts = []
  for i, value in enumerate(values):
    if isinstance(value, bytes):
      try:
        value = value.decode()
      except UnicodeDecodeError as error:
        raise ValueError(
          f"{owner}: {name!r}, row {i}, is not UTF-8: {error}"
        ) from error
    if value is not None and not isinstance(value, str):
      raise ValueError(
        f"{owner}: {name!r}, row {i}, must be text, got {type(value).__name__}"
      )
    texts.append(value or "")
  return texts
