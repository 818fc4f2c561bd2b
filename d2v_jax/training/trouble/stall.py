"""A run that makes no step for long ends itself, and says what it waits for."""

import contextlib
import faulthandler
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator

import jax
from etils import epath

from d2v_jax.data.workers import Stacks

FOLDER = "stalls"
INPUT, DEVICES, STORAGE = "input", "devices", "storage"
_WAITED_FOR = {
  INPUT: "the next batch, from the process that reads it or from storage",
  DEVICES: "the devices",
  STORAGE: "a checkpoint to be written",
}
# Seconds: of a clock that a stopped process, which is no stalled one, does not
# move.
_TICK = 5.0
# Seconds to write what all threads do.
_PATIENCE = 30.0


class StallWatch:
  """Ends the process when nothing has moved for too long.

  Args:
    minutes: without a step; None: however many.
    workdir: where the stacks of all threads and workers go.
    stacks: where the workers' are written to.
    end: ends the process with a status.
  """

  def __init__(
    self,
    minutes: float | None,
    workdir: epath.Path,
    stacks: Stacks | None = None,
    end: Callable[[int], None] = os._exit,
  ) -> None:
    self._limit = 60 * (minutes or 0)
    self._workdir = workdir
    self._stacks = stacks
    self._end = end
    self._since = 0.0
    self._paused = 0
    self._waits_for = DEVICES
    self._closed = threading.Event()
    self._thread: threading.Thread | None = None
    if minutes is not None:
      self._thread = threading.Thread(
        target=self._watch, name="stall watch", daemon=True
      )
      self._thread.start()

  def moved(self) -> None:
    """Notes that something was done: a step, or a batch of an evaluation."""
    self._since = 0.0

  @contextlib.contextmanager
  def waiting(self, what: str) -> Iterator[None]:
    """Names what is waited for: INPUT or STORAGE; otherwise it is DEVICES."""
    before, self._waits_for = self._waits_for, what
    try:
      yield
    finally:
      self._waits_for = before

  @contextlib.contextmanager
  def paused(self) -> Iterator[None]:
    """Leaves out what may take as long as it likes."""
    self._paused += 1
    try:
      yield
    finally:
      self._paused -= 1
      self.moved()

  @contextlib.contextmanager
  def resumed(self) -> Iterator[None]:
    """Watches, within `paused`, what moves."""
    before, self._paused = self._paused, 0
    self.moved()
    try:
      yield
    finally:
      self._paused = before

  def passed(self, seconds: float) -> bool:
    """Counts time; returns whether it was too much, and the process ends."""
    if self._paused:
      return False
    self._since += seconds
    if self._since < self._limit:
      return False
    self._stalled()
    return True

  def close(self) -> None:
    """Stops watching."""
    self._closed.set()
    if self._thread is not None:
      self._thread.join()

  def _watch(self) -> None:
    tick = min(_TICK, self._limit / 4)
    while not self._closed.wait(tick):
      if self.passed(tick):
        return

  def _stalled(self) -> None:
    process = jax.process_index()
    what = _WAITED_FOR[self._waits_for]
    if self._waits_for == DEVICES and jax.process_count() > 1:
      what = "the devices, or another process of the run"
    path = self._workdir / FOLDER / f"{int(time.time())}-{process}.txt"
    written: list[str] = []

    def write() -> None:
      try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_own_stacks() + self._stacks_of_workers())
        written.append(f"The stacks of all threads are in {path}")
      except OSError as e:
        written.append(f"The stacks of all threads could not be written ({e})")

    # Storage may be what hangs.
    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    writer.join(_PATIENCE)
    said = (*written, f"{path} could not be written in time")[0]
    print(
      f"stopped: no step for {self._limit / 60:g} minutes; process {process} "
      f"waits for {what}. {said}; run the same command to go on from the "
      "newest checkpoint. (The limit is config.health.stall_minutes.)",
      file=sys.stderr,
      flush=True,
    )
    for worker in multiprocessing.active_children():
      worker.kill()
    self._end(os.EX_TEMPFAIL)  # exit_status.INFRASTRUCTURE

  def _stacks_of_workers(self) -> str:
    if self._stacks is None:
      return ""
    workers = multiprocessing.active_children()
    return "".join(self._stacks.of(x.pid) for x in workers if x.pid)


def _own_stacks() -> str:
  with tempfile.TemporaryFile("w+") as file:  # faulthandler needs a real one
    faulthandler.dump_traceback(file)
    file.seek(0)
    return f"process {os.getpid()}\n{file.read()}"
