"""Orbax's own account of a failed save, which buries ours."""

import contextlib
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

# What TensorStore says has no traceback, and names Orbax's folder or this.
_SAYINGS = ("Event loop is closed", ".orbax-checkpoint-tmp")
_LOGGERS = ("absl", "asyncio")
# Seconds in which the threads of a failed save come to their end.
_PATIENCE = 10.0

_Hook = Callable[..., Any]


@contextlib.contextmanager
def orbax() -> Iterator[None]:
  """Keeps to itself what Orbax's threads say of a failure.

  Each of its tasks and threads prints pages about itself; the failure itself
  comes back as an exception. With D2V_TRACEBACK=1 all is said.

  They are not heard afterwards either, until Python ends: where TensorStore
  still writes for one of the tasks, they speak when it is done, however late.
  """
  hook = _without(sys.excepthook, lambda kind, error, trace: error)
  sys.excepthook = hook
  threading.excepthook = _without(threading.excepthook, lambda it: it.exc_value)
  sys.unraisablehook = _without(sys.unraisablehook, lambda it: it.exc_value)
  for name in _LOGGERS:
    logging.getLogger(name).addFilter(_passes)  # adds it once
  try:
    yield
  except BaseException:
    # What leaves this block Python itself has to say, wherever it comes from.
    sys.excepthook = hook.others
    raise
  finally:
    _wait_for_threads()


class _Without:
  """A hook that does not hear of Orbax's failures.

  Args:
    others: the hook that hears of all others.
    error: takes the exception from the arguments of a call.
  """

  def __init__(self, others: _Hook, error: _Hook) -> None:
    self.others, self._error = others, error

  def __call__(self, *args: Any) -> None:
    if not _is_orbaxs(self._error(*args)):
      self.others(*args)


def _without(hook: _Hook, error: _Hook) -> _Without:
  return hook if isinstance(hook, _Without) else _Without(hook, error)


def _passes(record: logging.LogRecord) -> bool:
  return not _is_orbaxs(record.exc_info[1] if record.exc_info else None)


def _is_orbaxs(error: BaseException | None) -> bool:
  """Whether it is to be kept quiet."""
  if error is None or os.environ.get("D2V_TRACEBACK"):
    return False
  if any(text in str(error) for text in _SAYINGS):
    return True
  frames = traceback.extract_tb(error.__traceback__)
  return any("/orbax/" in frame.filename for frame in frames)


def _wait_for_threads() -> None:
  """Until Orbax's threads have ended, which may be after the exception."""
  end = time.monotonic() + _PATIENCE
  for thread in threading.enumerate():
    if type(thread).__module__.partition(".")[0] == "orbax":
      # Their own method raises what they have failed with.
      threading.Thread.join(thread, max(0.0, end - time.monotonic()))
