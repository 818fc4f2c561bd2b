"""Lists that fairseq keeps as Python expressions, read without evaluating."""

import ast
import re
from collections.abc import Callable
from typing import Any

from d2v_jax.interchange.weights import InterchangeError

Triple = tuple[int, int, int]

LONGEST_TEXT = 2000
MOST_LAYERS = 64
_LARGEST = 65_536
# Without names, quotes, dots and signs there is little to get wrong.
_NOT_ALLOWED = re.compile(r"[^0-9\s\[\](),+*]", re.ASCII)


def conv_layers(text: str, where: str) -> tuple[Triple, ...]:
  """Reads '[(512, 10, 5)] + [(512, 3, 2)] * 4'.

  Args:
    text: the expression.
    where: its place in the file, for errors.

  Returns:
    (channels, kernel, stride) of each layer, at least one.

  Raises:
    InterchangeError: for anything else than such a list, and for one of more
      than 64 layers or with numbers outside of 1 to 65536.
  """
  return tuple(_read(text, where, _checked_layers))


def integers(text: str, where: str) -> tuple[int, ...]:
  """Reads '[6, 7, 8]'.

  Raises:
    InterchangeError: for anything else.
  """
  return _read(text, where, lambda node: _numbers(node, ast.List))


def _read(text: str, where: str, convert: Callable[[ast.expr], Any]) -> Any:
  if not isinstance(text, str):
    raise InterchangeError(f"{where}: it must be a string, got {text!r:.80}.")
  try:
    if len(text) > LONGEST_TEXT:
      raise ValueError(f"it is longer than {LONGEST_TEXT} characters")
    if wrong := _NOT_ALLOWED.search(text):
      raise ValueError(f"character {wrong.start() + 1} is not allowed")
    return convert(ast.parse(" ".join(text.split()), mode="eval").body)
  except (ValueError, SyntaxError, RecursionError, MemoryError) as e:
    reason = str(e) if isinstance(e, ValueError) else "it is no expression"
    shown = repr(text if len(text) <= 80 else f"{text[:77]}...")
    raise InterchangeError(
      f"{where}: {shown} is not a list of numbers as fairseq writes it, such "
      f"as '[(512, 10, 5)] + [(512, 3, 2)] * 4': {reason}; it is never "
      "evaluated."
    ) from e


def _checked_layers(node: ast.expr) -> list[Triple]:
  layers = _layers(node)
  if not layers:
    raise ValueError("there is no layer")
  if any(len(layer) != 3 for layer in layers):
    raise ValueError("a layer is (channels, kernel, stride)")
  if not all(1 <= n <= _LARGEST for layer in layers for n in layer):
    raise ValueError(f"a number is not in 1 to {_LARGEST}")
  return layers


def _layers(node: ast.expr) -> list[Any]:
  """Sums and multiples of lists; nothing grows before its size is checked."""
  times = 1
  match node:
    case ast.List(elts=elements):
      layers = [_numbers(element, ast.Tuple) for element in elements]
    case ast.BinOp(left=left, op=ast.Add(), right=right):
      layers = _layers(left) + _layers(right)
    case (
      ast.BinOp(left=one, op=ast.Mult(), right=ast.Constant(value=int(times)))
      | ast.BinOp(left=ast.Constant(value=int(times)), op=ast.Mult(), right=one)
    ):
      layers = _layers(one)
    case _:
      raise ValueError(f"{ast.unparse(node)[:40]!r} is no list of layers")
  if len(layers) * times > MOST_LAYERS:
    raise ValueError(f"there are more than {MOST_LAYERS} layers")
  return layers * times


def _numbers(
  node: ast.expr, kind: type[ast.List | ast.Tuple]
) -> tuple[int, ...]:
  if isinstance(node, kind):
    values = [getattr(element, "value", None) for element in node.elts]
    numbers = tuple(value for value in values if type(value) is int)
    if len(numbers) == len(values):
      return numbers
  raise ValueError(
    f"{ast.unparse(node)[:40]!r} is no {kind.__name__.lower()} of numbers"
  )
