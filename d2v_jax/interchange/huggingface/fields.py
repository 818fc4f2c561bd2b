"""Fields of a config.json: typed, bounded, and refused by name and value."""

import dataclasses
from typing import Any

from d2v_jax.interchange.weights import InterchangeError


@dataclasses.dataclass(frozen=True)
class Fields:
  """Typed access to a JSON object; what it lacks has its default.

  Attributes:
    values: the object.
    defaults: those of the library that wrote it, by name.
    source: the file, for errors.
  """

  values: dict[str, Any]
  defaults: dict[str, Any]
  source: str

  def __getitem__(self, name: str) -> Any:
    return self.values.get(name, self.defaults.get(name))

  def integer(self, name: str, low: int = 1, high: int = 1 << 20) -> int:
    """An integer in [low, high]."""
    value = self[name]
    if type(value) is not int or not low <= value <= high:
      raise self.error(name, f"an integer from {low} to {high}")
    return value

  def number(self, name: str, high: float) -> float:
    """A number in [0, high]."""
    value = self[name]
    if type(value) not in (int, float) or not 0 <= value <= high:
      raise self.error(name, f"a number from 0 to {high}")
    return float(value)

  def rate(self, name: str) -> float:
    """A rate of dropout, in [0, 1)."""
    value = self.number(name, 1.0)
    if value == 1:
      raise self.error(name, "a rate below 1")
    return value

  def flag(self, name: str) -> bool:
    """True or False."""
    if type(self[name]) is not bool:
      raise self.error(name, "true or false")
    return self[name]

  def integers(self, name: str, high: int) -> tuple[int, ...]:
    """A list of 1 to 64 integers in [1, high]."""
    value = self[name]
    fits = isinstance(value, list | tuple) and 1 <= len(value) <= 64
    if not fits or any(type(x) is not int or not 1 <= x <= high for x in value):
      raise self.error(name, f"a list of integers from 1 to {high}")
    return tuple(value)

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
      raise self.error(name, f"1 or {count} numbers above {above}")
    return tuple(float(x) for x in value)

  def square(self, name: str, high: int) -> int:
    """A side: an integer, or two that are equal."""
    value = self[name]
    if isinstance(value, dict) and set(value) == {"height", "width"}:
      value = [value["height"], value["width"]]
    if isinstance(value, list | tuple) and len(value) == 2:
      if value[0] != value[1]:
        raise self.error(name, "the same for height and width")
      value = value[0]
    if type(value) is not int or not 1 <= value <= high:
      raise self.error(name, f"an integer from 1 to {high}, or two equal ones")
    return value

  def only(self, name: str, *allowed: Any) -> None:
    """Refuses every other value of a field that changes the numbers."""
    value = self[name]
    if not any(type(value) is type(x) and value == x for x in allowed):
      raise self.error(name, " or ".join(repr(x) for x in allowed))

  def num_labels(self) -> int:
    """Outputs of a classifier."""
    names = self["id2label"]
    if names is None:
      return 2 if self["num_labels"] is None else self.integer("num_labels")
    if not isinstance(names, dict) or not names:
      raise self.error("id2label", "an object number -> name")
    return len(names)

  def classifier(self) -> tuple[str, int]:
    """config.objective.name of a classifier, and its outputs."""
    one = "single_label_classification"
    self.only("problem_type", None, one, "regression")
    outputs = self.num_labels()
    if outputs == 1:
      return "regression", 1
    self.only("problem_type", None, one)
    return "classification", outputs

  def error(self, name: str, wanted: str) -> InterchangeError:
    """The error for a field: its name, its value and what it must be."""
    text = repr(self[name])
    text = text if len(text) <= 80 else f"{text[:77]}..."
    return InterchangeError(
      f"{self.source}: {name}={text} is not supported; it must be {wanted}."
    )


def near(value: float, wanted: float) -> bool:
  """Equal but for the last digits of a float."""
  return abs(value - wanted) <= 1e-6 * wanted
