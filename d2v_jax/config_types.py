"""Which values of a config an annotation allows, and how to call those."""

import inspect
import types
import typing
from collections.abc import Mapping
from typing import Annotated, Any

# The types of single values, in words.
KINDS: Mapping[type, str] = {
  bool: "True or False",
  int: "an int",
  float: "a float",
  str: "a string",
  type(None): "None",
}


def members(annotation: Any) -> tuple[Any, ...]:
  """What an annotation allows: the members of a union, or the one type."""
  if typing.get_origin(annotation) is Annotated:
    annotation = typing.get_args(annotation)[0]
  if typing.get_origin(annotation) in (typing.Union, types.UnionType):
    return tuple(
      inner
      for member in typing.get_args(annotation)
      for inner in members(member)
    )
  return (annotation,)


def is_plain(value: Any) -> bool:
  """Whether a value can stand in a config: it is no object of ours."""
  return isinstance(value, Mapping | list | tuple | str | int | float)


def fits(value: Any, kind: Any) -> bool:
  """Whether a value is of a type; an int is a float, too, and a bool no int."""
  origin, arguments = typing.get_origin(kind), typing.get_args(kind)
  if kind in (Any, inspect.Parameter.empty):
    return True
  if kind in KINDS:
    return type(value) is kind or (kind is float and type(value) is int)
  if origin is typing.Literal:
    return any(value == x and type(value) is type(x) for x in arguments)
  if kind is tuple or origin is tuple:
    if not isinstance(value, list | tuple):
      return False
    if not arguments:
      return True
    if arguments[-1] is ...:
      return all(fits_any(x, arguments[0]) for x in value)
    return len(value) == len(arguments) and all(map(fits_any, value, arguments))
  if kind in (dict, Mapping) or origin in (dict, Mapping):
    return isinstance(value, Mapping)
  # What else there is, such as a Protocol, cannot be told by its type.
  return not is_plain(value)


def fits_any(value: Any, annotation: Any) -> bool:
  """Whether a value is of one of the types that an annotation allows."""
  return any(fits(value, member) for member in members(annotation))


def literals(kind: Any) -> tuple[Any, ...]:
  """The values of a Literal; () of another type."""
  is_literal = typing.get_origin(kind) is typing.Literal
  return typing.get_args(kind) if is_literal else ()


def described(kind: Any) -> str:
  """A type in the words of an error: "it must be ..."."""
  arguments = typing.get_args(kind)
  if kind in KINDS:
    return KINDS[kind]
  if literals(kind):
    return "one of " + ", ".join(map(repr, arguments))
  if kind is tuple or typing.get_origin(kind) is tuple:
    if not arguments:
      return "a tuple"
    inner = " or ".join(map(described, members(arguments[0])))
    if arguments[-1] is ...:
      return f"a tuple, each element {inner}"
    return f"a tuple of {len(arguments)}, such as {inner}"
  return "a section"
