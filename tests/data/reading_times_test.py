"""A clock that the tests set stands for the real ones."""

import itertools
import types

import numpy as np
import pytest

from d2v_jax.data import pipeline, reading_times
from d2v_jax.data.reading_times import ReadingTimes


@pytest.fixture
def clock(monkeypatch):
  class Clock:
    now, work = 100.0, 10.0

  fake = types.SimpleNamespace(
    perf_counter=lambda: Clock.now, thread_time=lambda: Clock.work
  )
  monkeypatch.setattr(reading_times, "time", fake)
  return Clock


def test_what_takes_how_long(clock):
  class Source:
    def __len__(self):
      return 5

    def __getitem__(self, index):
      clock.now += 8
      clock.work += 1
      return {"x": index}

  def transform(example, rng):
    assert example == {"x": 3}  # as without the times
    clock.now += 4
    clock.work += 3
    return {"y": rng}

  source = reading_times.TimedSource(Source())
  assert len(source) == 5
  row = reading_times.TimedTransform(transform)(source[3], "rng")
  batch = {key: np.stack([value, value]) for key, value in row.items()}
  assert reading_times.take(batch) == ReadingTimes(16.0, 2.0, 8.0, 6.0)
  assert list(batch) == ["y"]


def test_sums_and_differences():
  one, other = ReadingTimes(1, 2, 3, 4), ReadingTimes(5, 7, 9, 11)
  assert reading_times.add(one, other) == (6, 9, 12, 15)
  assert reading_times.since(other, one) == (4, 5, 6, 7)


class Numbers:
  """Examples of numbers."""

  lengths = np.full(6, 2)

  def __len__(self):
    return 6

  def __getitem__(self, index):
    sum(range(10_000))  # some work
    return {"x": np.int32(index), "requested": index, "record": index}

  def record_name(self, index):
    return str(index)


class Rows:
  def __call__(self, example, rng):
    sum(range(10_000))  # some work
    return {k: example[k] for k in ("x", "requested", "record")}


@pytest.mark.parametrize(
  "options",
  [
    {},
    {"num_workers": 1},
    {"buckets": pipeline.Buckets((2,))},
  ],
)
def test_batches_bring_their_times_along(options):
  batches = pipeline.train_batches(
    Numbers(), Rows(), seed=0, batch_size=2, num_threads=1, **options
  )
  seen = []
  try:
    for batch in itertools.islice(batches, 3):
      assert batch.keys() == {"x"}
      seen.append(batches.times)
  finally:
    batches.close()
  for before, after in itertools.pairwise([ReadingTimes(), *seen]):
    assert all(seconds > 0 for seconds in reading_times.since(after, before))
