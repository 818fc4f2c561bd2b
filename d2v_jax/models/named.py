"""Constructors that differ in name, and say it in their errors."""

import functools
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
