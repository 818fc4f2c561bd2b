"""From a config to objects.

Each sub-dict of a config is the arguments of one constructor. Nothing here has
defaults: they live in the constructors. A key that nobody reads is an error
that names it.
"""

import difflib
import inspect
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Spec = Mapping[str, Any]


class ConfigError(ValueError):
  """The config asks for something that does not exist or does not fit."""


def build(
  spec: Spec, table: Mapping[str, Callable], where: str, **given: Any
) -> Any:
  """Builds what `spec['name']` names in a table from the other keys.

  Args:
    spec: e.g. {'name': 'data2vec', 'top_k': 3}.
    table: name -> constructor.
    where: path in the config, for errors, e.g. 'config.objective'.
    **given: arguments that do not come from this part of the config.

  Raises:
    ConfigError: for an unknown name, key or value; it lists the choices.
  """
  _check_section(spec, where)
  spec = dict(spec)
  name = spec.pop("name", None)
  if name not in table:
    raise ConfigError(
      f"{where}.name: unknown {name!r}{_hint(name, table)}; choose one of: "
      f"{', '.join(sorted(table))}."
    )
  return call(table[name], spec, where, **given)


def call(constructor: Callable, spec: Spec, where: str, **given: Any) -> Any:
  """constructor(**given, **spec), with errors that name the config's path."""
  _check_section(spec, where)
  allowed = parameters(constructor) - set(given)
  for key in spec:
    if key not in allowed:
      raise ConfigError(
        f"{where}.{key}: unknown field{_hint(key, allowed)}; choose from: "
        f"{', '.join(sorted(allowed))}."
      )
  check_types(constructor, spec, where)
  try:
    return constructor(**given, **spec)
  except ConfigError:
    raise
  except (TypeError, ValueError) as e:
    raise ConfigError(f"{where}: {e}") from e


def check_types(constructor: Callable, spec: Spec, where: str) -> None:
  """Compares values with a constructor's annotations, where those are plain.

  Raises:
    ConfigError: for a value of another type.
  """
  arguments = inspect.signature(constructor, eval_str=True).parameters
  for key, value in spec.items():
    wanted = _plain_types(arguments[key].annotation)
    got = tuple if isinstance(value, list) else type(value)
    if isinstance(value, Mapping):
      got = Mapping
    fits = got in wanted or (got is int and float in wanted)
    if wanted and not fits:
      names = " or ".join(_TYPE_NAMES[t] for t in wanted)
      raise ConfigError(
        f"{where}.{key}: got {value!r}, but it must be {names}."
      )


_TYPE_NAMES = {
  bool: "True or False",
  int: "an int",
  float: "a float",
  str: "a string",
  tuple: "a tuple",
  Mapping: "a section",
  type(None): "None",
}


def _plain_types(annotation):
  """Types that an annotation allows; () when it says more than that."""
  union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
  parts = typing.get_args(annotation) if union else (annotation,)
  found = tuple(typing.get_origin(p) or p for p in parts)
  return found if all(t in _TYPE_NAMES for t in found) else ()


def _check_section(spec, where):
  if not isinstance(spec, Mapping):
    raise ConfigError(f"{where}: got {spec!r}, but it must be a section.")


def parameters(constructor: Callable) -> set[str]:
  """Names of a constructor's arguments."""
  return set(inspect.signature(constructor).parameters)


def plain(config: Any) -> Any:
  """Nested ConfigDicts as dicts, lists as tuples (constructors hash them)."""
  if hasattr(config, "to_dict"):
    config = config.to_dict()
  if isinstance(config, Mapping):
    return {k: plain(v) for k, v in config.items()}
  if isinstance(config, list | tuple):
    return tuple(plain(v) for v in config)
  return config


def flatten(config: Spec, prefix: str = "") -> Iterator[tuple[str, Any]]:
  """('objective.loss_beta', 2.0), ... for each leaf of nested dicts."""
  for key, value in config.items():
    if isinstance(value, Mapping) and value:
      yield from flatten(value, f"{prefix}{key}.")
    else:
      yield prefix + key, value


def differences(old: Spec, new: Spec, ignored: tuple[str, ...]) -> list[str]:
  """Lines 'key: old -> new' of leaves that differ, ignored prefixes apart."""
  old, new = dict(flatten(old)), dict(flatten(new))
  return [
    f"{key}: {old.get(key, '(absent)')!r} -> {new.get(key, '(absent)')!r}"
    for key in sorted(old.keys() | new.keys())
    if old.get(key) != new.get(key)
    and not any(key == i or key.startswith(f"{i}.") for i in ignored)
  ]


def _hint(word: Any, choices: Any) -> str:
  close = difflib.get_close_matches(str(word), list(choices), n=1)
  return f" (did you mean {close[0]!r}?)" if close else ""
