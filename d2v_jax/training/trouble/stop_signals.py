"""SIGTERM and SIGINT stop a run after a step, and leave it whole."""

import contextlib
import itertools
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax.experimental import multihost_utils


class Interrupted(Exception):
  """A signal came; the state is saved and the same command continues.

  Args:
    step: that was the last one.
    signum: the signal.
    saved: whether it had to be saved.
  """

  def __init__(self, step: int, signum: int, saved: bool = True) -> None:
    end = "and saved it" if saved else "before there was anything new to save"
    name = signal.Signals(signum).name
    super().__init__(f"{name}: stopped after step {step}, {end}")
    self.signum = signum


class StopEvaluation(Exception):
  """A signal came while evaluators ran; what they measured is dropped."""

  def __init__(self, signum: int) -> None:
    super().__init__()
    self.signum = signum


class StoppedAtOnce(KeyboardInterrupt):
  """A second signal came, which does not wait for the step to end."""

  def __init__(self, signum: int) -> None:
    super().__init__()
    self.signum = signum


@contextlib.contextmanager
def stop_signals(
  lost: Callable[[], bool] = lambda: False,
) -> Iterator[Callable[[], int]]:
  """Yields what to ask after each step: the signal to stop by, or 0.

  Args:
    lost: whether this process has a reason of its own to stop, which then
      counts as a SIGTERM.

  With several processes all of them must stop after the same step; JAX's
  coordination service then agrees on it after a SIGTERM to any of them. It
  needs about a second.
  """
  several = jax.process_count() > 1
  # Not the number of the step: before the first call the service takes 0 for
  # it, and a resumed run would have the agreed number 1 behind it.
  calls = itertools.count(1)
  received: list[int] = []

  def handler(signum: int, frame: Any) -> None:
    if received:
      raise StoppedAtOnce(signum)
    received.append(signum)
    if several:
      os.kill(os.getpid(), signal.SIGTERM)  # JAX listens to this one only

  def stop() -> int:
    if lost() and not received:
      os.kill(os.getpid(), signal.SIGTERM)
    reached = multihost_utils.reached_preemption_sync_point
    if several and not reached(next(calls)):
      return 0
    return received[0] if received else several * signal.SIGTERM

  # JAX has a handler of its own for SIGTERM when there are several.
  handled = (signal.SIGINT,) if several else (signal.SIGINT, signal.SIGTERM)
  old = {s: signal.signal(s, handler) for s in handled}
  try:
    yield stop
  finally:
    for signum, previous in old.items():
      signal.signal(signum, previous)
