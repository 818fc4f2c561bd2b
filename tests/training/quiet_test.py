"""Orbax's own pages about a failure stay away; all others come through."""

import asyncio
import gc
import logging
import sys
import threading
import types

import pytest

from d2v_jax.training import quiet


def raised(text, filename):
  """An exception that comes from a file of this name."""
  try:
    exec(compile(f"raise ValueError({text!r})", filename, "exec"))
  except ValueError as e:
    return e
  raise AssertionError


@pytest.fixture
def said(monkeypatch, caplog):
  """Says something in each way; returns what came through."""

  def said(error):
    heard = []
    monkeypatch.setattr(sys, "excepthook", lambda *a: heard.append("hook"))
    monkeypatch.setattr(
      threading, "excepthook", lambda a: heard.append("thread")
    )
    monkeypatch.setattr(sys, "unraisablehook", lambda a: heard.append("lost"))
    caplog.clear()

    def fail():
      raise error

    with quiet.orbax():
      sys.excepthook(type(error), error, error.__traceback__)
      thread = threading.Thread(target=fail)
      thread.start()
      thread.join()
      for name in ("absl", "asyncio"):
        logging.getLogger(name).error("failed", exc_info=error)
    return sorted([*heard, *(r.name for r in caplog.records)])

  return said


def test_orbaxs_threads_and_tasks_are_not_heard(said):
  assert said(raised("disk full", "/lib/orbax/checkpoint/x.py")) == []


def test_nor_is_a_thread_that_outlives_the_exception(caplog):
  error = raised("disk full", "/lib/orbax/checkpoint/x.py")
  # Of a class of Orbax's, as those are that save.
  go_on = threading.Event()

  class Saving(threading.Thread):
    __module__ = "orbax.x"

    def join(self, timeout=None):
      raise error

  def fail():
    go_on.wait()
    logging.getLogger("absl").error("failed", exc_info=error)

  with quiet.orbax():
    thread = Saving(target=fail)
    thread.start()
    threading.Timer(0.2, go_on.set).start()
  assert not thread.is_alive()
  assert not caplog.records


@pytest.mark.parametrize(
  "error",
  [
    RuntimeError("Event loop is closed"),
    ValueError(
      'OUT_OF_RANGE: Error writing "1.mu.norm.bias/0" in OCDBT database at '
      'local file "/run/checkpoints/2.orbax-checkpoint-tmp/opt_state.'
      'orbax-checkpoint-tmp/ocdbt.process_0/": File too large'
    ),
  ],
)
def test_nor_is_what_tensorstore_says(said, error):
  assert said(error) == []


EVERY = ["absl", "asyncio", "hook", "thread"]


def test_others_are(said):
  assert said(raised("disk full", "/lib/other/x.py")) == EVERY


def test_all_are_when_asked_for(said, monkeypatch):
  monkeypatch.setenv("D2V_TRACEBACK", "1")
  assert said(raised("disk full", "/lib/orbax/checkpoint/x.py")) == EVERY


def test_a_task_that_nobody_asks_about_is_not_heard(caplog):
  held = []

  async def main():
    async def fail():
      raise raised("disk full", "/lib/orbax/checkpoint/x.py")

    task = asyncio.create_task(fail())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    held.append(task)  # as Orbax's are, by what TensorStore still writes

  with quiet.orbax():
    asyncio.run(main())
  held.clear()
  gc.collect()
  assert not caplog.records


@pytest.mark.parametrize("late", ["hook", "thread", "lost"])
def test_what_is_said_afterwards_is_not_heard(late, monkeypatch):
  # TensorStore calls the hook, from a thread of its own.
  heard = []
  names = {
    "hook": (sys, "excepthook"),
    "thread": (threading, "excepthook"),
    "lost": (sys, "unraisablehook"),
  }
  where = names[late]
  monkeypatch.setattr(*where, lambda *args: heard.append(args))
  with quiet.orbax():
    first = getattr(*where)
  with quiet.orbax():
    assert getattr(*where) is first

  def say(error):
    it = types.SimpleNamespace(exc_value=error)
    getattr(*where)(*((type(error), error, None) if late == "hook" else (it,)))

  say(RuntimeError("Event loop is closed"))
  assert not heard
  say(RuntimeError("another"))
  assert len(heard) == 1


def test_what_ends_the_command_is_heard(monkeypatch):
  heard = []
  monkeypatch.setattr(sys, "excepthook", lambda *args: heard.append(args))
  error = raised("not foreseen", "/lib/orbax/checkpoint/x.py")
  with quiet.orbax():
    pass  # an earlier command of the same process
  with pytest.raises(ValueError, match="not foreseen"), quiet.orbax():
    raise error
  sys.excepthook(type(error), error, error.__traceback__)
  assert len(heard) == 1
