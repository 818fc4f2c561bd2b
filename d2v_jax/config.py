"""From a config to objects; `config_file` reads the files.

Each sub-dict of a config is the arguments of one constructor. Nothing here has
defaults: they live in the constructors. A key that nobody reads is an error
that names it.
"""

import collections.abc
import contextlib
import dataclasses
import difflib
import fnmatch
import inspect
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any, TypeVar

from d2v_jax.config_types import (
  KINDS,
  described,
  fits,
  is_plain,
  literals,
  members,
)

Spec = Mapping[str, Any]


class ConfigError(ValueError):
  """The config asks for something that does not exist or does not fit."""


@dataclasses.dataclass(frozen=True)
class Choices:
  """Marks a parameter whose section says by `name` what it becomes.

  `mask: Annotated[Mask | None, Choices(MASKS)]` makes of {'name': 'spans',
  'length': 5} the object MASKS['spans'](length=5).

  Attributes:
    table: name -> constructor.
    usual: the name that may be left out; None: there is none.
  """

  table: Mapping[str, Callable]
  usual: str | None = None


class _FromRun:
  """Marks a parameter that is no field: the run gives it."""


T = TypeVar("T")
FromRun = Annotated[T, _FromRun()]


def build(
  spec: Any,
  table: Mapping[str, Callable],
  where: str,
  *,
  run: Spec | None = None,
  **given: Any,
) -> Any:
  """Builds what `spec['name']` names in a table from the other keys.

  Args:
    spec: e.g. {'name': 'data2vec', 'top_k': 3}.
    table: name -> constructor.
    where: path in the config, for errors, e.g. 'config.objective'.
    run: what the run gives to parameters that are marked `FromRun`, here and in
      the sections within.
    **given: arguments that do not come from this part of the config.

  Raises:
    ConfigError: for an unknown name, key or value; it lists the choices.
  """
  constructor, fields = _named(spec, table, where)
  return call(constructor, fields, where, run=run, named=True, **given)


def _named(
  spec: Any, table: Mapping[str, Callable], where: str
) -> tuple[Callable, Spec]:
  """What a section names, and its other fields."""
  fields = dict(_section(spec, where))
  if "name" not in fields:
    for key in difflib.get_close_matches("name", map(str, fields), n=1):
      raise ConfigError(
        f"{where}.{key}: unknown field (did you mean 'name'?); choose from: "
        "name, and the fields of what it names."
      )
  name = fields.pop("name", None)
  if not isinstance(name, str) or name not in table:
    raise ConfigError(
      f"{where}.name: unknown {name!r}{_hint(name, table)}; choose one of: "
      f"{', '.join(sorted(table))}."
    )
  return table[name], fields


def call(
  constructor: Callable[..., T],
  spec: Any,
  where: str,
  *,
  run: Spec | None = None,
  named: bool = False,
  **given: Any,
) -> T:
  """constructor(**given, **spec), with errors that name the config's path.

  A section becomes what its parameter is annotated with: an object of a class,
  or, where that is marked with `Choices`, what its `name` says. Lists become
  tuples. None leaves a section out that has a default.

  Args:
    constructor: a class or a function whose parameters are annotated.
    spec: the fields.
    where: path in the config, for errors.
    run: see `build`.
    named: the section has a `name`, too, which is used already.
    **given: see `build`.

  Raises:
    ConfigError: for an unknown or missing field, a value of another type, and
      what the constructor refuses.
  """
  fields = arguments(constructor, spec, where, run=run, named=named, **given)
  with errors_at(where):
    return constructor(**fields)


def arguments(
  constructor: Callable,
  spec: Any,
  where: str,
  *,
  run: Spec | None = None,
  named: bool = False,
  **given: Any,
) -> dict[str, Any]:
  """What `call` would call a constructor with; see there."""
  parameters = inspect.signature(constructor, eval_str=True).parameters
  run = run or {}
  fields = dict(given)
  allowed = {}
  for name, parameter in parameters.items():
    if name in given:
      continue
    if _is_from_run(parameter.annotation):
      if name in run:
        fields[name] = run[name]
    else:
      allowed[name] = parameter
  for key, value in _section(spec, where).items():
    if key not in allowed:
      choices = {*allowed, "name"} if named else set(allowed)
      raise ConfigError(
        f"{where}.{key}: unknown field{_hint(key, choices)}; choose from: "
        f"{', '.join(sorted(choices)) or 'nothing, it has no fields'}."
      )
    parameter = allowed[key]
    if value is None and _may_be_left_out(parameter):
      continue
    annotation = parameter.annotation
    fields[key] = _converted(value, annotation, f"{where}.{key}", run)
  missing = [
    name
    for name, parameter in parameters.items()
    if parameter.default is parameter.empty and name not in fields
  ]
  if missing:
    raise ConfigError(
      f"{where}: missing field{'s' * (len(missing) > 1)}: {', '.join(missing)}."
    )
  return fields


def check(
  spec: Any,
  table: Mapping[str, Callable],
  where: str,
  *,
  run: Spec | None = None,
  **given: Any,
) -> None:
  """Raises what `build` would raise, and builds the sections within alone.

  For what opens files: a config is checked as a whole before one is read.
  """
  constructor, fields = _named(spec, table, where)
  arguments(constructor, fields, where, run=run, named=True, **given)


@contextlib.contextmanager
def errors_at(where: str) -> Iterator[None]:
  """Errors about values become ConfigErrors that begin with a path."""
  try:
    yield
  except ConfigError:
    raise
  except (TypeError, ValueError, OverflowError, ZeroDivisionError) as e:
    raise ConfigError(f"{where}: {e}") from e


def field_names(constructor: Callable) -> set[str]:
  """The keys that a section of a constructor may have."""
  parameters = inspect.signature(constructor, eval_str=True).parameters
  return {
    name
    for name, parameter in parameters.items()
    if not _is_from_run(parameter.annotation)
  }


def check_fields(
  keys: Iterable[str], allowed: Iterable[str], where: str
) -> None:
  """Raises ConfigError for a key that is not allowed, with the choices."""
  for key in keys:
    if key not in set(allowed):
      raise ConfigError(
        f"{where}.{key}: unknown field{_hint(key, allowed)}; choose from: "
        f"{', '.join(sorted(allowed))}."
      )


def _section(spec: Any, where: str) -> Spec:
  if not isinstance(spec, Mapping):
    raise ConfigError(f"{where}: got {spec!r}, but it must be a section.")
  return spec


def _is_from_run(annotation: Any) -> bool:
  marks = getattr(annotation, "__metadata__", ())
  return any(isinstance(mark, _FromRun) for mark in marks)


def _is_constructor(kind: Any) -> bool:
  """Whether a section becomes an object of this type."""
  plain_kinds = (*KINDS, tuple, dict, Mapping, object)
  return (
    isinstance(kind, type)
    and kind not in plain_kinds
    and not getattr(kind, "_is_protocol", False)
  )


def _may_be_left_out(parameter: inspect.Parameter) -> bool:
  """Whether None stands for the default: where that is a section's."""
  allowed = members(parameter.annotation)
  is_section = any(
    _is_constructor(m) or typing.get_origin(m) is collections.abc.Mapping
    for m in allowed
  )
  has_default = parameter.default is not parameter.empty
  return is_section and has_default and type(None) not in allowed


def _converted(value: Any, annotation: Any, where: str, run: Spec) -> Any:
  """A value of a config as what its parameter is annotated with."""
  allowed = members(annotation)
  for mark in getattr(annotation, "__metadata__", ()):
    if isinstance(mark, Choices) and is_plain(value):
      if mark.usual is not None:
        value = {"name": mark.usual, **_section(value, where)}
      return build(value, mark.table, where, run=run)
  if isinstance(value, Mapping):
    for member in allowed:
      if _is_constructor(member):
        return call(member, value, where, run=run)
  for member in allowed:
    if fits(value, member):
      return _as_tuple(value)
  choices = [x for m in allowed for x in literals(m)]
  if choices and isinstance(value, str):
    raise ConfigError(
      f"{where}: unknown {value!r}{_hint(value, choices)}; choose one of: "
      f"{', '.join(map(str, choices))}."
    )
  kinds = " or ".join(dict.fromkeys(map(described, allowed)))
  raise ConfigError(f"{where}: got {value!r}, but it must be {kinds}.")


def _as_tuple(value: Any) -> Any:
  """Lists as tuples, at any depth: constructors hash them."""
  if isinstance(value, list | tuple):
    return tuple(map(_as_tuple, value))
  return value


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
  """('objective.loss_beta', 2.0), ... for each leaf of nested dicts.

  Sections in a list have their position for a name.
  """
  for key, value in config.items():
    listed = value if isinstance(value, list | tuple) else ()
    if listed and all(isinstance(section, Mapping) for section in listed):
      value = {str(k): section for k, section in enumerate(listed)}
    if isinstance(value, Mapping) and value:
      yield from flatten(value, f"{prefix}{key}.")
    else:
      yield prefix + key, value


def differences(old: Spec, new: Spec, ignored: tuple[str, ...]) -> list[str]:
  """Lines 'key: old -> new' of leaves that differ.

  Args:
    old: one config.
    new: the other.
    ignored: keys, and sections, that may differ; '*' stands for anything.
  """
  old, new = dict(flatten(old)), dict(flatten(new))
  return [
    f"{key}: {old.get(key, '(absent)')!r} -> {new.get(key, '(absent)')!r}"
    for key in sorted(old.keys() | new.keys())
    if old.get(key) != new.get(key)
    and not any(
      fnmatch.fnmatchcase(key, i) or fnmatch.fnmatchcase(key, f"{i}.*")
      for i in ignored
    )
  ]


def _hint(word: Any, choices: Any) -> str:
  close = difflib.get_close_matches(str(word), list(choices), n=1)
  return f" (did you mean {close[0]!r}?)" if close else ""
