import contextlib
import threading

import pytest
from etils import epath

from d2v_jax.training.trouble import stall


@pytest.fixture
def watch(tmp_path):
  """A watch of 50 minutes; what it ends with is in `watch.ended`."""
  ended = []
  watch = stall.StallWatch(50, epath.Path(tmp_path), end=ended.append)
  watch.ended = ended
  yield watch
  watch.close()


def stacks(folder):
  (path,) = (folder / "stalls").iterdir()
  return path.read_text()


@pytest.mark.parametrize(
  ("what", "text"),
  [
    (stall.INPUT, "process 0 waits for the next batch, from the process that"),
    (stall.STORAGE, "process 0 waits for a checkpoint to be written. "),
    (None, "process 0 waits for the devices. The stacks of all threads are in"),
  ],
)
def test_what_is_waited_for_is_told(watch, tmp_path, capfd, what, text):
  waiting = contextlib.nullcontext() if what is None else watch.waiting(what)
  with waiting:
    assert watch.passed(3000)
  assert watch.ended == [75]
  err = capfd.readouterr().err
  assert err.startswith("stopped: no step for 50 minutes; ")
  assert text in err
  assert "stall_test.py" in stacks(tmp_path)


def test_what_moves_goes_on(watch):
  for _ in range(3):
    assert not watch.passed(2999)
    watch.moved()
  assert not watch.passed(2999)
  assert watch.passed(1)


def test_what_may_take_long_does(watch):
  with watch.paused():
    assert not watch.passed(9000)
    with watch.resumed():
      assert not watch.passed(2999)
    assert not watch.passed(9000)
  assert not watch.passed(2999)
  with watch.paused(), watch.resumed():
    assert watch.passed(3000)


def test_time_passes(tmp_path):
  ended = threading.Event()
  watch = stall.StallWatch(
    1e-3, epath.Path(tmp_path), end=lambda status: ended.set()
  )
  assert ended.wait(60)
  watch.close()
  assert stall.StallWatch(None, epath.Path(tmp_path)).close() is None
