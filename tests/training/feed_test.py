"""A clock that the tests set stands for the real one."""

from concurrent.futures import Future

import jax.numpy as jnp
import pytest

from d2v_jax.data.reading_times import ReadingTimes
from d2v_jax.training import feed as feed_lib
from d2v_jax.training.feed import Feed
from tests.training.fake_clock import fake_clock


class Batches:
  """Each batch takes two seconds."""

  times = ReadingTimes(4.0, 3.0, 2.0, 1.0)
  closed = False

  def __init__(self, clock):
    self._clock = clock

  def __next__(self):
    self._clock.now += 2
    return {"inputs": self._clock.now}

  def close(self):
    self.closed = True


@pytest.fixture
def clock(monkeypatch):
  return fake_clock(monkeypatch, feed_lib, "monotonic")


@pytest.fixture
def feed(clock):
  """Devices are done when the test says so."""
  made = Feed(Batches(clock))
  yield made
  made.close()


def when(time):
  done = Future()
  done.set_result(time)
  return done


def test_it_hands_on_batches_and_their_times(feed):
  assert next(iter(feed)) == {"inputs": 102.0}
  assert feed.times.source_cpu == 3.0


def test_without_a_step_all_of_it_is_waiting(feed):
  next(feed)
  assert feed.waited == 2.0


def test_devices_that_were_done_before_wait_all_the_time(feed, clock):
  feed._done = when(99.0)
  clock.now += 5  # the loop does something else: no matter of input
  next(feed)
  assert feed.waited == 2.0


def test_devices_that_are_done_meanwhile_wait_for_the_rest(feed):
  feed._done = when(101.5)
  next(feed)
  assert feed.waited == 0.5


@pytest.mark.parametrize("failed", [False, True])
def test_devices_that_still_work_do_not_wait(feed, failed):
  feed._done = Future()
  if failed:
    feed._done.set_exception(RuntimeError("out of memory"))
  next(feed)
  assert feed.waited == 0.0


def test_the_devices_themselves(clock):
  batches = Batches(clock)
  feed = Feed(batches)
  feed.busy_with({"loss": jnp.ones(3) + 1})
  assert feed._done.result(timeout=60) == 100.0
  next(feed)
  assert feed.waited == 2.0
  feed.close()
  assert batches.closed
