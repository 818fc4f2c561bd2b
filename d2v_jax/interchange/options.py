"""Options of a foreign configuration: typed, bounded, refused by name."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from d2v_jax.interchange.weights import InterchangeError

_LARGEST = 2**20


@dataclasses.dataclass(frozen=True)
class Options:
  """One section of a configuration.

  An option that is not there has the default that is asked for, or None.

  Attributes:
    values: name -> value, as read from a file: nothing about it is certain.
    where: its path, for errors.
  """

  values: Mapping[str, Any]
  where: str

  def __contains__(self, name: str) -> bool:
    return name in self.values

  def __getitem__(self, name: str) -> Any:
    return self.values.get(name)

  def section(self, name: str) -> "Options":
    """A section within; an empty one where there is none."""
    value = self.values.get(name, {})
    if not isinstance(value, Mapping):
      raise self.error(name, "it must be a section")
    return Options(value, f"{self.where}.{name}")

  def inner(self, name: str) -> "Options":
    """A section within, or this one: old command lines have no sections."""
    return self.section(name) if isinstance(self[name], Mapping) else self

  def integer(
    self,
    name: str,
    default: int | None = None,
    *,
    least: int = 0,
    most: int = _LARGEST,
  ) -> int:
    """An integer within bounds."""
    value = self.values.get(name, default)
    if isinstance(value, float) and value.is_integer():
      value = int(value)
    if type(value) is not int or not least <= value <= most:
      raise self.error(name, f"it must be an integer of {least} to {most}")
    return value

  def integers(self, name: str, most: int) -> tuple[int, ...]:
    """A list of 1 to 64 integers of 1 to `most`."""
    value = self[name]
    fits = isinstance(value, list | tuple) and 1 <= len(value) <= 64
    if not fits or any(type(x) is not int or not 1 <= x <= most for x in value):
      raise self.error(name, f"it must be a list of integers of 1 to {most}")
    return tuple(value)

  def number(
    self,
    name: str,
    default: float | None = None,
    *,
    least: float = -math.inf,
    most: float = math.inf,
  ) -> float:
    """A finite number within bounds."""
    value = self.values.get(name, default)
    fits = type(value) in (int, float) and math.isfinite(value)
    if not fits or not least <= value <= most:
      bounded = "" if most == math.inf else f" of {least} to {most}"
      raise self.error(name, f"it must be a number{bounded}")
    return float(value)

  def numbers(
    self, name: str, count: int, above: float = -1e6
  ) -> tuple[float, ...]:
    """As many numbers above a bound as asked for; one stands for all."""
    value = self[name]
    value = value if isinstance(value, list) else [value]
    fits = len(value) in (1, count) and all(
      type(x) in (int, float) and above < x < 1e6 for x in value
    )
    if not fits:
      raise self.error(name, f"it must be 1 or {count} numbers above {above}")
    return tuple(float(x) for x in value)

  def rate(self, name: str) -> float:
    """A rate of dropout, in [0, 1)."""
    value = self.number(name, least=0, most=1)
    if value == 1:
      raise self.error(name, "it must be a rate below 1")
    return value

  def flag(self, name: str, default: bool | None = None) -> bool:
    """True or False."""
    value = self.values.get(name, default)
    if not isinstance(value, bool):
      raise self.error(name, "it must be True or False")
    return value

  def text(self, name: str, default: str) -> str:
    """A string."""
    value = self.values.get(name, default)
    if not isinstance(value, str):
      raise self.error(name, "it must be a string")
    return value

  def choice(self, name: str, default: str, choices: Mapping[str, Any]) -> Any:
    """What a string stands for."""
    value = self.text(name, default)
    if value not in choices:
      raise self.error(name, f"only {', '.join(choices)} can be imported")
    return choices[value]

  def require(self, name: str, *allowed: Any) -> None:
    """Raises unless the option is absent, or has one of these values.

    Raises:
      InterchangeError: this library computes something else.
    """
    value = self.values.get(name, allowed[0])
    plain = isinstance(value, bool | int | float | str | None)
    if not plain or value not in allowed:
      only = " or ".join(map(repr, allowed))
      raise self.error(name, f"this library has only {only}")

  def error(self, name: str, reason: str) -> InterchangeError:
    """An error about one of the options."""
    value = repr(self[name])
    shown = value if len(value) <= 80 else f"{value[:77]}..."
    return InterchangeError(f"{self.where}.{name}={shown}: {reason}.")
