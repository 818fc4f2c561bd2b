import os

import pytest

from d2v_jax.data.reading_times import ReadingTimes
from d2v_jax.training.logs import input_wait
from d2v_jax.training.logs.input_wait import InputWatch, Usage, cause
from tests.training.fake_clock import fake_clock


class Data:
  def __init__(self, num_threads=4, num_workers=0):
    self.num_threads = num_threads
    self.num_workers = num_workers


@pytest.fixture
def work(monkeypatch):
  """The processor's seconds, which the test sets; eight cores."""
  monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8))
  return fake_clock(monkeypatch, input_wait, "process_time", 50.0)


def usage(times, threads=8.0, cores=2.0, num_workers=0):
  return Usage(times, threads, cores, 8, num_workers, 8)


# Of ten seconds: a source that takes 6, of which the processor works 1.
SLOW_DISK = ReadingTimes(6.0, 1.0, 1.0, 1.0)
BUSY = ReadingTimes(5.0, 4.5, 2.0, 2.0)
# Everything takes three times as long as its work: that is no storage.
LOCKED = ReadingTimes(6.0, 2.0, 3.0, 1.0)


@pytest.mark.parametrize(
  ("used", "name", "advice"),
  [
    (usage(SLOW_DISK), "storage", "raise config.data.num_threads above 8"),
    (usage(SLOW_DISK, cores=7.5), "cores", "processor, transforms above all"),
    (usage(BUSY, cores=7.5), "cores", "processor, decoding above all"),
    (usage(BUSY), "threads", "raise config.data.num_threads above 8"),
    (usage(LOCKED), "lock", "raise config.data.num_workers above 0"),
    (
      usage(BUSY, threads=3.0, num_workers=2),
      "batches",
      "another config.data.num_workers than 2",
    ),
    (usage(ReadingTimes(), threads=0.0), "batches", "than 0"),
  ],
)
def test_the_cause(used, name, advice):
  found, sentence = cause(used)
  assert found == name
  assert advice in sentence


def test_it_says_what_was_measured(work):
  watch = InputWatch(Data())
  assert watch.check(0.9, 5.0, ReadingTimes(7.0, 7.0, 7.0, 7.0)) is None
  work.now += 12
  # In ten seconds 40 of four threads: 24 for storage, 6 to decode, 10 after.
  text = watch.check(0.25, 10.0, ReadingTimes(37.0, 13.0, 17.0, 17.0))
  assert text == (
    "warning: the devices wait for input 25% of the time. An example is 60% "
    "reading, 15% decoding and 25% transforms; 4.0 of 4 threads and 1.2 of 8 "
    "cores are busy. The cause is storage, which answers slowly: raise "
    "config.data.num_threads above 4, or use a faster disk."
  )


def test_work_of_other_processes_counts(work):
  watch = InputWatch(Data(num_threads=7, num_workers=3))
  watch.check(0.0, 1.0, ReadingTimes())
  work.now += 10  # of this process, and of the workers 15 + 45
  text = watch.check(0.5, 10.0, ReadingTimes(15.0, 15.0, 45.0, 45.0))
  # Two threads in each of three workers.
  assert "6.0 of 6 threads and 7.0 of 8 cores" in text
  assert "processor, transforms above all" in text


def test_it_warns_when_the_share_passes_a_tenth_or_the_cause_changes(work):
  watch = InputWatch(Data())
  times = ReadingTimes()

  def after(share, more):
    nonlocal times
    times = ReadingTimes(*map(sum, zip(times, more, strict=True)))
    return watch.check(share, 1.0, times)

  disk, busy = ReadingTimes(4, 0.2, 0.1, 0.1), ReadingTimes(2, 2, 2, 2)
  assert after(0.5, disk) is None  # the first interval
  assert after(0.1, disk) is None
  assert "storage" in after(0.11, disk)
  assert after(0.6, disk) is None  # known already
  assert "too few threads" in after(0.6, busy)
  assert after(0.02, busy) is None
  assert "too few threads" in after(0.2, busy)
