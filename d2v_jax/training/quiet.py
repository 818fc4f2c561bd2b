"""Orbax's own account of a failed save, which buries ours."""

import contextlib
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from types import TracebackType
from typing import Any

_CLOSED = "Event loop is closed"
_LOGGERS = ("absl", "asyncio")
# Seconds in which the threads of a failed save come to their end.
_PATIENCE = 10.0


@contextlib.contextmanager
def orbax() -> Iterator[None]:
  """Keeps to itself what Orbax's threads say of a failure.

  Each of its tasks and threads prints pages about itself; the failure itself
  comes back as an exception. With D2V_TRACEBACK=1 all is said. What they say
  to loggers is kept from them afterwards, too: a task that nobody has asked
  about speaks when it is collected, and while TensorStore still writes for one
  of its kind it holds them all.
  """
  for name in _LOGGERS:
    logging.getLogger(name).addFilter(_without_orbaxs)  # adds it once
  if os.environ.get("D2V_TRACEBACK"):
    yield
    return
  hook, thread_hook = sys.excepthook, threading.excepthook
  unraisable_hook = sys.unraisablehook

  def on_exception(
    kind: type[BaseException],
    value: BaseException,
    trace: TracebackType | None,
  ) -> None:
    if not _is_orbaxs(value):
      hook(kind, value, trace)

  def on_thread(it: Any) -> None:
    if not _is_orbaxs(it.exc_value):
      thread_hook(it)

  def on_unraisable(it: Any) -> None:
    if not _is_orbaxs(it.exc_value):
      unraisable_hook(it)

  sys.excepthook, threading.excepthook = on_exception, on_thread
  sys.unraisablehook = on_unraisable
  try:
    yield
  finally:
    _wait_for_threads()
    sys.excepthook, threading.excepthook = hook, thread_hook
    sys.unraisablehook = unraisable_hook


def _wait_for_threads() -> None:
  """Until Orbax's threads have ended, which may be after the exception."""
  end = time.monotonic() + _PATIENCE
  for thread in threading.enumerate():
    if type(thread).__module__.partition(".")[0] == "orbax":
      # Their own method raises what they have failed with.
      threading.Thread.join(thread, max(0.0, end - time.monotonic()))


def _without_orbaxs(record: logging.LogRecord) -> bool:
  if os.environ.get("D2V_TRACEBACK"):
    return True
  error = record.exc_info[1] if record.exc_info else None
  return not _is_orbaxs(error)


def _is_orbaxs(error: BaseException | None) -> bool:
  if error is None:
    return False
  if str(error) == _CLOSED:
    return True
  frames = traceback.extract_tb(error.__traceback__)
  return any("/orbax/" in frame.filename for frame in frames)
