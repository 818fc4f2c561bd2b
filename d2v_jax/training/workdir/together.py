"""What every process of a run does together, or none of them."""

import gc
import inspect
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

T = TypeVar("T")


class Failed(Exception):
  """What was tried together failed in at least one process."""


def together(attempt: Callable[[], T]) -> T:
  """Runs `attempt` in every process; if it fails in one, it fails in all.

  Returns:
    What `attempt` returned in this process.

  Raises:
    Failed: says in one line what went wrong.
  """
  values, failure = _attempt(attempt)
  if jax.process_count() > 1:
    failed = multihost_utils.process_allgather(np.int32(failure is not None))
    if failed.any() and failure is None:
      failure = f"process {int(failed.argmax())} failed: see its log"
  if failure is not None:
    raise Failed(failure)
  (value,) = values
  return value


def from_process_0(number: int) -> int:
  """The number that process 0 gives."""
  if jax.process_count() == 1:
    return number
  # The train loop forbids accidental transfers; this one is meant.
  with jax.transfer_guard("allow"):
    return int(multihost_utils.broadcast_one_to_all(np.int32(number)))


def _attempt(attempt: Callable[[], T]) -> tuple[list[T], str | None]:
  """One value and None, or no value and what went wrong, in one line."""
  failure, hook = None, sys.unraisablehook

  def quiet(it: Any) -> None:
    # Orbax reads an array in many tasks; when one fails it drops the others,
    # and each prints pages about itself when it is collected.
    dropped = inspect.iscoroutine(it.object)
    if not dropped and str(it.exc_value) != "Event loop is closed":
      hook(it)

  sys.unraisablehook = quiet
  try:
    return [attempt()], None
  except Exception as error:  # damage comes back as any class of error
    cause = error.__cause__ or error
    lines = str(cause).strip().splitlines() or ["no message"]
    failure = f"{type(cause).__name__}: {lines[0][:400]}"
    del cause
  finally:
    if failure is not None:
      gc.collect()
    sys.unraisablehook = hook
  return [], failure
