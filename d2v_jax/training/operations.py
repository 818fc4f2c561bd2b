"""Counts the floating-point operations of a JAX function."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax.extend import core
from jax.interpreters import partial_eval

# How JAX calls the place of what `jax.checkpoint` computes again.
_REMAT = "rematted_computation"


def count(function: Callable, *args: Any) -> float:
  """Operations of the matrix products and convolutions of one call.

  A multiply-add is two. The function is traced, not run, so what the compiler
  adds is not counted, nor is what no result needs. Of a loop each round counts,
  and of a Pallas kernel each block of its grid; of branches the largest; a loop
  of unknown length counts once. What is computed again in the backward pass (by
  `remat`, or by attention, which keeps no weights) does not count: it is work
  that the step itself does not ask for.

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
  jaxpr = traced.jaxpr
  # A gradient of ours (`models.linear`) computes that of its input, too, where
  # nobody wants it.
  wanted, _ = partial_eval.dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))
  return _count(wanted)


def _count(jaxpr: core.Jaxpr) -> float:
  eqns = (e for e in jaxpr.eqns if _REMAT not in _place(e))
  return sum(map(_operations, eqns))


def _place(eqn: Any) -> str:
  """What an equation was traced in: names of functions and transformations."""
  return str(eqn.source_info.name_stack)


def _operations(eqn: Any) -> float:
  name, params = eqn.primitive.name, eqn.params
  if name == "dot_general":
    (contracted, _), _ = params["dimension_numbers"]
    shape = eqn.invars[0].aval.shape
    terms = math.prod(shape[axis] for axis in contracted)
    return 2.0 * eqn.outvars[0].aval.size * terms
  if name == "conv_general_dilated":
    return 2.0 * _products(eqn)
  if name == "by_platform":
    return _of_platforms(params["default"].jaxpr)
  inner = [_count(jaxpr) for jaxpr in _inner(params)]
  if name == "cond":
    return max(inner)
  if name == "pallas_call":
    return math.prod(params["grid_mapping"].grid) * sum(inner)
  return params.get("length", 1) * sum(inner) if inner else 0.0


def _of_platforms(jaxpr: core.Jaxpr) -> float:
  """Operations of the default implementation of `models.hardware.by_platform`.

  A gradient is one function that begins with what it is the gradient of.
  """
  eqns = (e for e in jaxpr.eqns if not _place(e).startswith("jvp("))
  return sum(map(_operations, eqns))


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
