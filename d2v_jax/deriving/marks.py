"""Fields of a config that are derived: where they are, and their values."""

from collections.abc import Mapping
from typing import Any

import ml_collections

from d2v_jax import config as config_lib
from d2v_jax.config import ConfigError

# Stands in a config for a value that is derived.
DERIVED = "derived"
MINUTES = "minutes"


def open_fields(config: Any) -> list[str]:
  """Paths of the fields that are to be derived, such as 'encoder.width'."""
  leaves = config_lib.flatten(config_lib.plain(config))
  return [path for path, value in leaves if value == DERIVED]


def is_open(config: Any) -> bool:
  """Whether something in a config is to be derived."""
  return bool(open_fields(config))


def filled(
  config: ml_collections.ConfigDict, values: Mapping[str, Any]
) -> ml_collections.ConfigDict:
  """A copy of a config with values where it had none, without its minutes.

  Args:
    config: with fields that are to be derived.
    values: path -> value, of those and perhaps others, which stay as they are.

  Raises:
    ConfigError: a field has no value here.
  """
  for path in open_fields(config):
    if path not in values:
      raise ConfigError(
        f"config.{path}: got {DERIVED!r}, but there is no rule for it; give a "
        f"value. Rules are there for: {', '.join(sorted(values))}."
      )
  made = with_values(config, values)
  with made.unlocked():
    if MINUTES in made:
      del made[MINUTES]
  return made


def with_values(
  config: ml_collections.ConfigDict, values: Mapping[str, Any]
) -> ml_collections.ConfigDict:
  """As `filled`, where values may be missing, and the minutes stay."""
  made = config.copy_and_resolve_references()
  with made.unlocked(), made.ignore_type():
    for path in set(open_fields(config)) & values.keys():
      *sections, field = path.split(".")
      node = made
      for section in sections:
        node = node[section]
      node[field] = values[path]
  return made


def without_open(section: Mapping[str, Any]) -> dict[str, Any]:
  """Nested dicts without fields to be derived, and what has no others."""
  made: dict[str, Any] = {}
  for key, value in section.items():
    if isinstance(value, Mapping) and value:
      value = without_open(value)
      if value:
        made[key] = value
    elif not (isinstance(value, str) and value == DERIVED):
      made[key] = value
  return made


class Chosen:
  """Values for the fields of a config that are to be derived.

  Args:
    config: with such fields.

  Attributes:
    values: path -> value.
    reasons: path -> why, in words.
  """

  def __init__(self, config: Any) -> None:
    self._open = set(open_fields(config))
    self._given = dict(config_lib.flatten(config_lib.plain(config)))
    self.values: dict[str, Any] = {}
    self.reasons: dict[str, str] = {}

  def get(self, path: str) -> Any:
    """What a field has by now, or None."""
    return self.values.get(path, self._given.get(path))

  def is_open(self, path: str) -> bool:
    """Whether a field is to be derived."""
    return path in self._open

  def take(self, path: str, value: Any, why: str) -> Any:
    """Gives a field a value, unless the config has one; returns what it has.

    What the config has of another type is refused when the run is built; other
    rules then go on with this value.

    Args:
      path: of the field.
      value: by the rule.
      why: in words.
    """
    if path not in self._open:
      given = self._given.get(path, value)
      return given if isinstance(given, type(value)) else value
    self.values[path] = value
    self.reasons[path] = why
    return value

  def lines(self) -> list[str]:
    """The values as they could be given, each with its reason."""
    return [
      f"--config.{path}={value}  # {self.reasons[path]}"
      for path, value in self.values.items()
    ]
