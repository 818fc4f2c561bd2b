"""Counts the floating-point operations of a JAX function."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax.extend import core


def count(function: Callable, *args: Any) -> float:
  """Operations of the matrix products and convolutions of one call.

  A multiply-add is two. The function is traced, not run, so what the compiler
  removes is counted and what it adds is not. Of a loop each round counts, and
  of a Pallas kernel each block of its grid; of branches the largest; a loop of
  unknown length counts once.

  Args:
    function: to be traced; may be compiled by jax.jit.
    *args: its arguments, or their shapes as jax.ShapeDtypeStruct.

  Returns:
    Operations, 0 or more.
  """
  return count_traced(jax.make_jaxpr(function)(*args))


def count_traced(traced: core.ClosedJaxpr) -> float:
  """As `count`, of a function that is traced already.

  Args:
    traced: what `jax.make_jaxpr` or `.trace(...).jaxpr` gives.

  Returns:
    Operations, 0 or more.
  """
  return _count(traced.jaxpr)


def _count(jaxpr: core.Jaxpr) -> float:
  return sum(map(_operations, jaxpr.eqns))


def _operations(eqn: Any) -> float:
  name, params = eqn.primitive.name, eqn.params
  if name == "dot_general":
    (contracted, _), _ = params["dimension_numbers"]
    shape = eqn.invars[0].aval.shape
    terms = math.prod(shape[axis] for axis in contracted)
    return 2.0 * eqn.outvars[0].aval.size * terms
  if name == "conv_general_dilated":
    return 2.0 * _products(eqn)
  inner = [_count(jaxpr) for jaxpr in _inner(params)]
  if name == "cond":
    return max(inner)
  if name == "pallas_call":
    return math.prod(params["grid_mapping"].grid) * sum(inner)
  return params.get("length", 1) * sum(inner) if inner else 0.0


def _products(eqn: Any) -> float:
  """Multiply-adds of a convolution that meet no inserted zero.

  A gradient is a convolution with zeros between the values that a stride has
  skipped; they would count the stride's multiple.
  """
  dims = eqn.params["dimension_numbers"]
  kernel = eqn.invars[1].aval.shape
  terms = math.prod(kernel) / kernel[dims.rhs_spec[0]]
  products = eqn.outvars[0].aval.size * terms
  return products / math.prod(eqn.params["lhs_dilation"])


def _inner(params: dict[str, Any]) -> Iterator[core.Jaxpr]:
  """All jaxprs among the parameters of an equation."""
  for value in params.values():
    for part in value if isinstance(value, tuple | list) else (value,):
      if isinstance(part, core.ClosedJaxpr):
        yield part.jaxpr
      elif isinstance(part, core.Jaxpr):
        yield part
