"""Config files, overrides, and from a config to objects.

Each sub-dict of a config is the arguments of one constructor. Nothing here has
defaults: they live in the constructors. A key that nobody reads is an error
that names it.
"""

import ast
import difflib
import importlib.util
import inspect
import pathlib
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import ml_collections

Spec = Mapping[str, Any]


class ConfigError(ValueError):
  """The config asks for something that does not exist or does not fit."""


def load(path: str) -> ml_collections.ConfigDict:
  """Runs a config file's get_config().

  The folder above the file's own is importable while it runs, so that
  configs/vit_large.py can start from configs/vit_base.py.

  Raises:
    ConfigError: if there is no such file or it does not give a config.
  """
  file = pathlib.Path(path)
  if not file.is_file():
    near = sorted(str(p) for p in file.parent.glob("*.py"))
    hint = f"; in that folder are: {', '.join(near)}" if near else ""
    raise ConfigError(f"config file {path} does not exist{hint}.")
  spec = importlib.util.spec_from_file_location(f"config_{file.stem}", file)
  module = importlib.util.module_from_spec(spec)
  root = str(file.resolve().parent.parent)
  sys.path.insert(0, root)
  try:
    spec.loader.exec_module(module)
    config = module.get_config()
  except Exception as e:
    raise ConfigError(
      f"config file {path} failed: {type(e).__name__}: {e}"
    ) from e
  finally:
    sys.path.remove(root)
  if not isinstance(config, ml_collections.ConfigDict):
    raise ConfigError(
      f"{path}: get_config() must return an ml_collections.ConfigDict, got "
      f"{type(config).__name__}."
    )
  return config


def override(config: ml_collections.ConfigDict, path: str, text: str) -> None:
  """Sets config.<path> to a value given as text, in place.

  A field of the config keeps its type. A field that the config leaves to its
  constructor's default may be set too; a wrong name is found when it is built.

  Args:
    config: the config.
    path: e.g. 'encoder.drop_path'.
    text: a Python literal, or a string.

  Raises:
    ConfigError: for a path through something that is not a section, an unknown
      top-level field, or a value of another type.
  """
  *sections, field = path.split(".")
  where = "config"
  node = config
  for section in sections:
    if not isinstance(node.get(section), ml_collections.ConfigDict):
      choices = [
        k for k, v in node.items() if isinstance(v, ml_collections.ConfigDict)
      ]
      raise ConfigError(
        f"{where}.{section}: no such section{_hint(section, choices)}; choose "
        f"from: {', '.join(sorted(choices)) or '(none)'}."
      )
    node, where = node[section], f"{where}.{section}"
  if not sections and field not in node:
    raise ConfigError(
      f"config.{field}: unknown field{_hint(field, node)}; choose from: "
      f"{', '.join(sorted(node))}."
    )
  try:
    value = ast.literal_eval(text)
  except (ValueError, SyntaxError):
    value = {"true": True, "false": False}.get(text.lower(), text)
  old = node.get(field)
  if isinstance(old, float) and type(value) is int:
    value = float(value)
  if isinstance(old, str) and not isinstance(value, str):
    value = text
  if isinstance(old, list | tuple) and isinstance(value, list | tuple):
    value = tuple(value)
    old = tuple(old)
  if isinstance(old, ml_collections.ConfigDict) or not (
    old is None or value is None or type(old) is type(value)
  ):
    raise ConfigError(
      f"{where}.{field}: got {text!r}, but it is "
      f"{'a section' if hasattr(old, 'items') else type(old).__name__} "
      f"(now {old!r}); give a value of that type."
    )
  with node.ignore_type():
    node[field] = value


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
  allowed = parameters(constructor) - set(given)
  for key in spec:
    if key not in allowed:
      raise ConfigError(
        f"{where}.{key}: unknown field{_hint(key, allowed)}; choose from: "
        f"{', '.join(sorted(allowed))}."
      )
  try:
    return constructor(**given, **spec)
  except ConfigError:
    raise
  except (TypeError, ValueError) as e:
    raise ConfigError(f"{where}: {e}") from e


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
  """('objective.top_k', 3), ... for each leaf of nested dicts."""
  for key, value in config.items():
    if isinstance(value, Mapping) and value:
      yield from flatten(value, f"{prefix}{key}.")
    else:
      yield prefix + key, value


def differences(old: Spec, new: Spec, ignored: tuple[str, ...]) -> list[str]:
  """Lines 'key: old -> new' for leaves that differ, but for ignored prefixes."""
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
