"""Options of a foreign configuration, with errors that say where they stand."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from d2v_jax.interchange.weights import InterchangeError

_LARGEST = 1_000_000


@dataclasses.dataclass(frozen=True)
class Options:
  """One section of a configuration.

  Attributes:
    values: name -> value, as read from a file: nothing about it is certain.
    where: its path, for errors.
  """

  values: Mapping[str, Any]
  where: str

  def __contains__(self, name: str) -> bool:
    return self.values.get(name) is not None

  def section(self, name: str) -> "Options":
    """A section within; an empty one where there is none."""
    value = self.values.get(name)
    if value is None:
      value = {}
    if not isinstance(value, Mapping):
      raise self.error(name, "it must be a section")
    return Options(value, f"{self.where}.{name}")

  def inner(self, name: str) -> "Options":
    """A section within, or this one: old command lines have no sections."""
    if isinstance(self.values.get(name), Mapping):
      return self.section(name)
    return self

  def integer(
    self, name: str, default: int, *, least: int = 0, most: int = _LARGEST
  ) -> int:
    """An integer within bounds."""
    value = self._get(name, default)
    if isinstance(value, float) and value.is_integer():
      value = int(value)
    if type(value) is not int or not least <= value <= most:
      raise self.error(name, f"it must be an integer of {least} to {most}")
    return value

  def number(self, name: str, default: float | None) -> float | None:
    """A finite number; None only where that is the default."""
    value = self._get(name, default)
    if value is None:
      return None
    if type(value) not in (int, float) or not math.isfinite(value):
      raise self.error(name, "it must be a number")
    return float(value)

  def flag(self, name: str, default: bool) -> bool:
    """True or False."""
    value = self._get(name, default)
    if not isinstance(value, bool):
      raise self.error(name, "it must be True or False")
    return value

  def text(self, name: str, default: str) -> str:
    """A string."""
    value = self._get(name, default)
    if not isinstance(value, str):
      raise self.error(name, "it must be a string")
    return value

  def choice(self, name: str, default: str, choices: Mapping[str, Any]) -> Any:
    """What a string stands for."""
    value = self.text(name, default)
    if value not in choices:
      raise self.error(name, f"only {', '.join(choices)} can be imported")
    return choices[value]

  def require(self, name: str, wanted: Any) -> None:
    """Raises unless the option has this value, or is absent.

    Raises:
      InterchangeError: this library computes something else.
    """
    value = self._get(name, wanted)
    plain = isinstance(value, bool | int | float | str)
    if not plain or value != wanted:
      raise self.error(name, f"this library has only {wanted!r}")

  def error(self, name: str, reason: str) -> InterchangeError:
    """An error about one of the options."""
    value = repr(self.values.get(name))
    shown = value if len(value) <= 80 else f"{value[:77]}..."
    return InterchangeError(f"{self.where}.{name}={shown}: {reason}.")

  def _get(self, name, default):
    value = self.values.get(name)
    return default if value is None else value
