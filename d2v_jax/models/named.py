"""Constructors that are made of others: their names and their arguments."""

import functools
import inspect
from collections.abc import Callable

from d2v_jax.models.encoder import Encoder


def named(network: Callable[..., Encoder], name: str) -> Callable[..., Encoder]:
  """Returns a constructor with its first argument, `where`, filled in.

  Args:
    network: the constructor.
    name: what it is called in configs.
  """
  made = functools.partial(network, name)
  functools.update_wrapper(made, network)
  made.__name__ = name  # type: ignore[attr-defined]
  del made.__wrapped__  # type: ignore[attr-defined] # has another signature
  return made


def with_arguments_of(
  build: Callable[..., Encoder],
  network: Callable[..., Encoder],
  name: str,
  without: tuple[str, ...],
) -> Callable[..., Encoder]:
  """Makes a constructor's signature say what it hands on.

  Args:
    build: the constructor, which takes `**fields` and hands them on.
    network: the constructor that gets them.
    name: what `build` is called in configs.
    without: arguments of `network` that `build` gives itself.

  Returns:
    `build`, with the arguments of both.
  """
  own = inspect.signature(build, eval_str=True)
  others = inspect.signature(network, eval_str=True)
  taken = [x for k, x in own.parameters.items() if k != "fields"]
  taken += [x for k, x in others.parameters.items() if k not in without]
  build.__signature__ = own.replace(parameters=taken)  # type: ignore[attr-defined]
  build.__name__ = name
  return build
