"""Where in a program a number stops being finite.

A function is traced and its operations are done one by one, those of the loop
over layers, too. For each array that holds NaN or infinity it is known where
that came from, so infinities that are meant and lead to nothing, as of what
attention hides, are not taken for the cause.
"""

import dataclasses
import re
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Jaxpr, JaxprEqn, Literal

# Operations that are a function of their own, and the argument that holds it.
_CALLS = {
  "jit": "jaxpr",
  "pjit": "jaxpr",
  "remat2": "jaxpr",
  "checkpoint": "jaxpr",
  "closed_call": "call_jaxpr",
  "core_call": "call_jaxpr",
  "custom_jvp_call": "call_jaxpr",
  "custom_vjp_call": "call_jaxpr",
  "custom_vjp_call_jaxpr": "fun_jaxpr",
  "by_platform": "default",
}
_REMAT = "rematted_computation"
_NAN, _INFINITY = "NaN", "infinity"


@dataclasses.dataclass(frozen=True)
class Origin:
  """The operation that gave the first number that was not finite.

  Attributes:
    order: how many operations came before it.
    kind: 'NaN' or 'infinity'.
    module: 'blocks/mlp/fc1'; '' outside of all.
    layers: iterations of the loops that it is in, of layers and micro-batches,
      from the outermost one in, from 0.
    backward: whether that is in the gradients.
    operation: as JAX calls it, or 'input' with the name of that in `module`.
    shape: of the array.
    rows: along its first axis that are not finite, ascending.
    because: where the infinity came from that made it NaN.
  """

  order: int
  kind: str
  module: str
  layers: tuple[int, ...]
  backward: bool
  operation: str
  shape: tuple[int, ...]
  rows: tuple[int, ...]
  because: "Origin | None" = None


@dataclasses.dataclass(frozen=True)
class _Value:
  """An array, and where what is not finite in it came from."""

  array: Any
  nan: Origin | None = None
  infinity: Origin | None = None


@dataclasses.dataclass(frozen=True)
class _Place:
  stack: str = ""
  layers: tuple[int, ...] = ()


def find(
  function: Callable[..., Any], arguments: dict[str, Any]
) -> Origin | None:
  """Where the first number came from that makes an output not finite.

  Args:
    function: of keyword arguments; what it returns is asked for in order.
    arguments: name -> tree of arrays.

  Returns:
    The earliest origin of what is not finite in the outputs; None: all are.
  """
  traced = jax.make_jaxpr(lambda tree: function(**tree))(arguments)
  walk = _Walk()
  inputs = [
    walk.input(jax.tree_util.keystr(path, simple=True, separator="/"), leaf)
    for path, leaf in jax.tree_util.tree_leaves_with_path(arguments)
  ]
  outputs = walk.run(traced, inputs, _Place())
  origins = [x.nan or x.infinity for x in outputs]
  return min(
    (x for x in origins if x is not None),
    key=lambda x: x.order,
    default=None,
  )


class _Walk:
  """Does the operations of a program one by one."""

  def __init__(self) -> None:
    self._count = 0

  def input(self, name: str, array: Any) -> _Value:
    return self._value(array, (), name, _Place(), "input")

  def run(
    self, program: Any, inputs: Sequence[_Value], place: _Place
  ) -> list[_Value]:
    # JAX up to 0.10 has a class for programs with their constants.
    constants = [
      self._value(x, (), "", place, "constant")
      for x in getattr(program, "consts", ())
    ]
    program = getattr(program, "jaxpr", program)
    known: dict[Any, _Value] = {}

    def read(atom: Any) -> _Value:
      if isinstance(atom, Literal):
        return self._value(atom.val, (), "", place, "constant")
      return known[atom]

    known.update(zip(program.constvars, constants, strict=True))
    known.update(zip(program.invars, inputs, strict=True))
    last = _last_uses(program)
    for number, equation in enumerate(program.eqns):
      values = [read(x) for x in equation.invars]
      outputs = self._operation(equation, values, place)
      known.update(zip(equation.outvars, outputs, strict=True))
      for name in last.get(number, ()):
        known.pop(name, None)  # so that not all arrays are held at once
    return [read(x) for x in program.outvars]

  def _operation(
    self, equation: JaxprEqn, values: Sequence[_Value], place: _Place
  ) -> list[_Value]:
    name, params = equation.primitive.name, equation.params
    stack = str(equation.source_info.name_stack)
    inner = dataclasses.replace(place, stack=f"{place.stack}/{stack}")
    if name in _CALLS:
      return self.run(params[_CALLS[name]], values, inner)
    if name == "scan":
      return self._scan(equation, values, inner)
    if name == "sharding_constraint":
      return list(values)  # all is on one device here
    arguments = equation.primitive.get_bind_params(params)
    with equation.ctx.manager:
      arrays = (x.array for x in values)
      found = equation.primitive.bind(*arrays, **arguments)
    self._count += 1
    several = equation.primitive.multiple_results
    return [
      self._value(x, values, None, inner, name)
      for x in (found if several else [found])
    ]

  def _scan(
    self, equation: JaxprEqn, values: Sequence[_Value], place: _Place
  ) -> list[_Value]:
    params = equation.params
    body = params["jaxpr"]
    # How many of each kind there are, versions of JAX call differently; what
    # is stacked has one more axis outside than inside.
    stacked_in = _with_one_more_axis(equation.invars, body.in_avals)
    stacked_out = _with_one_more_axis(equation.outvars, body.out_avals)
    carried = len(equation.outvars) - stacked_out
    begin = len(values) - stacked_in
    fixed = values[: begin - carried]
    carry, stacked = list(values[begin - carried : begin]), values[begin:]
    order = range(params["length"])
    collected: dict[int, list[_Value]] = {}
    for index in reversed(order) if params["reverse"] else order:
      rows = [dataclasses.replace(x, array=x.array[index]) for x in stacked]
      # A row has what is not finite only if it holds some.
      rows = [self._kept(x) for x in rows]
      inner = dataclasses.replace(place, layers=(*place.layers, index))
      found = self.run(body, [*fixed, *carry, *rows], inner)
      carry, collected[index] = found[:carried], found[carried:]
    columns = zip(*(collected[i] for i in order), strict=True)
    return [*carry, *(self._stacked(column) for column in columns)]

  def _stacked(self, values: Sequence[_Value]) -> _Value:
    return self._value(
      jnp.stack([x.array for x in values]), values, None, _Place(), "stack"
    )

  def _kept(self, value: _Value) -> _Value:
    nan, infinite = _not_finite(value.array)
    return _Value(
      value.array,
      value.nan if nan.any() else None,
      value.infinity if infinite.any() else None,
    )

  def _value(
    self,
    array: Any,
    made_from: Sequence[_Value],
    module: str | None,
    place: _Place,
    operation: str,
  ) -> _Value:
    nan, infinite = _not_finite(array)
    if not (nan.any() or infinite.any()):
      return _Value(array)
    before = _first(x.nan for x in made_from)
    infinity = _first(x.infinity for x in made_from)

    def origin(kind: str, where: Any, because: Origin | None) -> Origin:
      rows = where.reshape(len(where), -1).any(1) if where.ndim else where[None]
      return Origin(
        order=self._count,
        kind=kind,
        module=_module(place.stack) if module is None else module,
        layers=place.layers,
        backward="transpose(" in place.stack,
        operation=operation,
        shape=tuple(where.shape),
        rows=tuple(np.flatnonzero(rows).tolist()),
        because=because,
      )

    return _Value(
      array,
      (before or origin(_NAN, nan, infinity)) if nan.any() else None,
      (infinity or before or origin(_INFINITY, infinite, None))
      if infinite.any()
      else None,
    )


def _with_one_more_axis(outside: Sequence[Any], inside: Sequence[Any]) -> int:
  pairs = zip(outside, inside, strict=True)
  return sum(len(x.aval.shape) > len(y.shape) for x, y in pairs)


def _not_finite(array: Any) -> tuple[np.ndarray, np.ndarray]:
  """Where an array is NaN, and where it is infinite."""
  if not jnp.issubdtype(jnp.result_type(array), jnp.inexact):
    return np.False_[None], np.False_[None]
  return np.asarray(jnp.isnan(array)), np.asarray(jnp.isinf(array))


def _first(origins: Any) -> Origin | None:
  return min(
    (x for x in origins if x is not None), key=lambda x: x.order, default=None
  )


def _last_uses(program: Jaxpr) -> dict[int, list[Any]]:
  """Number of an operation -> what nobody needs after it."""
  kept = {x for x in program.outvars if not isinstance(x, Literal)}
  uses: dict[Any, int] = {}
  for number, equation in enumerate(program.eqns):
    for name in (*equation.invars, *equation.outvars):
      if not isinstance(name, Literal) and name not in kept:
        uses[name] = number
  by_number: dict[int, list[Any]] = {}
  for name, number in uses.items():
    by_number.setdefault(number, []).append(name)
  return by_number


def _module(stack: str) -> str:
  """'blocks/mlp' of 'transpose(jvp(_Vit))/blocks/mlp'."""
  parts = []
  for part in stack.split("/"):
    name = re.sub(r"\b(jvp|transpose|vmap|checkpoint)\(|\)", "", part)
    # Of einsum, of remat, and of our own methods there are names, too.
    if name and re.fullmatch(r"[a-z]\w*", name) and name != _REMAT:
      parts.append(name)
  return "/".join(parts)
