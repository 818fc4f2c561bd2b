"""Checks of arguments, so that errors name them and all read alike."""

from collections.abc import Iterable


def at_least(where: str, least: int, **values: float) -> None:
  """Checks that values are `least` or more.

  Raises:
    ValueError: names the function `where`, the argument and its value.
  """
  for name, value in values.items():
    if not value >= least:
      raise ValueError(f"{where}: {name} must be {least} or more, got {value}.")


def positive(where: str, **values: float) -> None:
  """Checks that values are above 0.

  Raises:
    ValueError: names the function `where`, the argument and its value.
  """
  for name, value in values.items():
    if not value > 0:
      raise ValueError(f"{where}: {name} must be above 0, got {value}.")


def rates(where: str, **values: float) -> None:
  """Checks that rates of dropout are in [0, 1).

  Raises:
    ValueError: names the function `where`, the argument and its value.
  """
  for name, value in values.items():
    if not 0 <= value < 1:
      raise ValueError(f"{where}: {name} must be in [0, 1), got {value}.")


def multiple(where: str, whole: tuple[str, int], **parts: int) -> None:
  """Checks that parts divide the whole, given as ('width', 768).

  Raises:
    ValueError: names the function `where` and both arguments.
  """
  name, value = whole
  at_least(where, 1, **{name: value}, **parts)
  for part, size in parts.items():
    if value % size:
      raise ValueError(
        f"{where}: {name} {value} is not a multiple of {part} {size}; change "
        "one of them."
      )


def choice(where: str, choices: Iterable[str], **values: str) -> None:
  """Checks that values are among the choices.

  Raises:
    ValueError: names the function `where`, the argument and the choices.
  """
  choices = tuple(choices)
  for name, value in values.items():
    if value not in choices:
      raise ValueError(
        f"{where}: unknown {name} {value!r}; choose one of: "
        f"{', '.join(choices)}."
      )
