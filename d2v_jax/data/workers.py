"""Processes that read for a run, which may be killed while it runs."""

import faulthandler
import logging
import os
import pathlib
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

# How Grain says so.
_DIED = "Worker process was terminated unexpectedly"
_PATIENCE = 2.0  # seconds
_LISTED = 16  # names


class WorkerDied(RuntimeError):
  """A process that reads was killed, and so was the one in its place."""


class ReplacedWorkers:
  """An iterator whose processes are replaced once.

  Args:
    begin: index of the first batch -> an iterator over batches from there on.
    start: index of the first batch.
    names: index of a batch -> names of the examples that it is made of.
  """

  def __init__(
    self,
    begin: Callable[[int], Any],
    start: int,
    names: Callable[[int], Sequence[str]],
  ) -> None:
    self._begin = begin
    self._names = names
    self._next = start
    self._batches = begin(start)
    self._replaced = False

  def __iter__(self) -> Iterator[Any]:
    return self

  def __next__(self) -> Any:
    try:
      batch = next(self._batches)
    except RuntimeError as e:
      if _DIED not in str(e):
        raise
      if self._replaced:
        raise WorkerDied(
          f"a process that reads data was killed at batch {self._next} "
          f"({_reason(e)}), as one was before. The examples of that batch are "
          f"{_listed(self._names(self._next))}: one of them or of the next "
          "ones, or all the readers together, may take too much memory; remove "
          "it, or lower config.data.num_workers or config.data.num_threads"
        ) from e
      logging.warning(
        "a process that reads data was killed at batch %d (%s); others take "
        "its place",
        self._next,
        _reason(e),
      )
      self._replaced = True
      self._batches.close()
      self._batches = self._begin(self._next)
      return next(self)
    self._next += 1
    return batch

  def close(self) -> None:
    """Stops threads and processes."""
    self._batches.close()


class Stacks:
  """What the threads of processes that read are doing, when it is asked for.

  A process that hangs in a library runs no Python code, but it can be made to
  write its stacks by a signal.
  """

  def __init__(self) -> None:
    self._folder = pathlib.Path(tempfile.mkdtemp(prefix="d2v_jax-stacks-"))

  def begin(self, index: int, count: int) -> None:
    """Is called in each process, with its number and how many there are."""
    path = self._folder / f"{os.getpid()}"
    faulthandler.register(signal.SIGUSR1, os.open(path, os.O_CREAT | os.O_RDWR))

  def of(self, process: int) -> str:
    """Of one process; '' where it has not begun or is gone."""
    path = self._folder / f"{process}"
    if not path.exists():
      return ""
    os.kill(process, signal.SIGUSR1)
    end = time.monotonic() + _PATIENCE
    while not path.stat().st_size and time.monotonic() < end:
      time.sleep(0.01)
    time.sleep(0.1)  # for the rest of it
    return f"\nworker {process}\n{path.read_text()}"

  def close(self) -> None:
    """Removes what was written."""
    shutil.rmtree(self._folder, ignore_errors=True)


def _listed(names: Sequence[str]) -> str:
  rest = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
  return ", ".join(names[:_LISTED]) + rest


def _reason(error: RuntimeError) -> str:
  return str(error).partition("with ")[2].partition(".")[0] or "unknown"
