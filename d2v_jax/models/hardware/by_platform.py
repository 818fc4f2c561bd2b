"""One function with an implementation for each platform that has its own.

Which one it is, is known when a program is lowered for its devices, which need
not be those of the process. `jax.lax.platform_dependent` is the same, but it
traces all implementations wherever one is used, and has no place to say that
one is missing.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
from absl import logging
from jax._src import dispatch  # nothing public says it
from jax.extend.core import ClosedJaxpr, Primitive, jaxpr_as_fun
from jax.interpreters import mlir

PLATFORMS = ("tpu", "cuda")

Function = Callable[..., Any]
# Of the number of devices: what to call, or why there is nothing to call.
Choice = Callable[[int], Function | str]


def call(default: Function, others: Mapping[str, Choice], *args: Any) -> Any:
  """Calls a function by the implementation of the platform compiled for.

  It has no derivatives: see `jax.custom_vjp`.

  Args:
    default: the function, for all platforms without another implementation.
    others: platform ('tpu' or 'cuda') -> how its implementation is found where
      a program for it is lowered. It takes and returns what `default` does, in
      the same shapes and dtypes; where there is none, the reason is logged.
    *args: pytrees of arrays.

  Returns:
    What `default` returns.
  """
  traced, shape = jax.make_jaxpr(default, return_shape=True)(*args)
  leaves, tree = jax.tree.flatten(args)
  out = _by_platform.bind(
    *leaves, default=traced, others=tuple(others.items()), tree=tree
  )
  return jax.tree.unflatten(jax.tree.structure(shape), out)


@functools.cache
def _log_once(platform: str, reason: str) -> None:
  logging.warning("%s: %s.", platform.upper(), reason)


def _lowering(platform):
  def rule(ctx, *values, default, others, tree):
    function = jaxpr_as_fun(default)
    choice = dict(others).get(platform)
    if choice is not None:
      # Inside of a shard_map there is no such number: it is of one device.
      where = ctx.module_context.axis_context
      chosen = choice(getattr(where, "num_devices", None) or 1)
      if isinstance(chosen, str):
        _log_once(platform, chosen)
      else:
        function = lambda *leaves: jax.tree.leaves(  # noqa: E731
          chosen(*tree.unflatten(leaves))
        )
    return mlir.lower_fun(function, multiple_results=True)(ctx, *values)

  return rule


def _abstract(*_: Any, default: ClosedJaxpr, **__: Any) -> list[Any]:
  return list(default.out_avals)


def _run(*args: jax.Array, **params: Any) -> list[jax.Array]:
  bound = functools.partial(_by_platform.bind, **params)
  return list(jax.jit(bound)(*args))


_by_platform = Primitive("by_platform")
_by_platform.multiple_results = True
_by_platform.def_abstract_eval(_abstract)
_by_platform.def_impl(_run)
# What is chosen may ask for them; JAX looks for such primitives at the outside.
dispatch.prim_requires_devices_during_lowering.add(_by_platform)
mlir.register_lowering(_by_platform, _lowering(None))
for _platform in PLATFORMS:
  mlir.register_lowering(_by_platform, _lowering(_platform), _platform)
