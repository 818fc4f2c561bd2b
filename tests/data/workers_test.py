"""A process that reads and is killed is replaced once."""

import contextlib
import logging
import multiprocessing

import pytest

from d2v_jax.data import pipeline, workers
from d2v_jax.data.images import examples, sources
from d2v_jax.data.images.pixels import Form
from tests.data.pipeline_test import TRANSFORM, same, take


class Batches:
  """Dies at some of its batches."""

  closed = False

  def __init__(self, start, deaths):
    self._next = start
    self._deaths = deaths

  def __next__(self):
    if self._next in self._deaths:
      self._deaths.remove(self._next)
      raise RuntimeError(
        "Worker process was terminated unexpectedly with exit code -9. Search "
        "the logs above for the source of the crash."
      )
    self._next += 1
    return self._next - 1

  def close(self):
    self.closed = True


def replaced(*deaths):
  deaths, made = list(deaths), []

  def begin(start):
    made.append(Batches(start, deaths))
    return made[-1]

  names = lambda number: [f"{number}/{i}.png" for i in range(20)]  # noqa: E731
  return workers.ReplacedWorkers(begin, 3, names), made


def test_nothing_is_lost_or_repeated(caplog):
  batches, made = replaced(5)
  with caplog.at_level(logging.WARNING):
    assert [next(batches) for _ in range(4)] == [3, 4, 5, 6]
  assert [x.closed for x in made] == [True, False]
  assert "killed at batch 5 (exit code -9); others take its" in caplog.text


@pytest.mark.parametrize("deaths", [(5, 5), (5, 9)])
def test_the_second_time_is_the_end(deaths):
  batches, _ = replaced(*deaths)
  with pytest.raises(workers.WorkerDied) as e:
    for _ in range(20):
      next(batches)
  number = deaths[1]
  assert f"was killed at batch {number} (exit code -9)" in str(e.value)
  assert f"that batch are {number}/0.png, {number}/1.png, " in str(e.value)
  assert f", {number}/15.png and 4 more: one of them" in str(e.value)
  assert "config.data.num_workers" in str(e.value)


def test_other_errors_are_handed_on():
  def begin(start):
    raise RuntimeError("another")
    yield

  with pytest.raises(RuntimeError, match="another"):
    next(workers.ReplacedWorkers(begin, 0, str))


@pytest.mark.slow
def test_real_processes_that_are_killed():
  digits = examples.DecodedImages(sources.Digits("test"), Form(1))
  expected = take(digits, 40)
  batches = pipeline.train_batches(
    digits, TRANSFORM, seed=1, batch_size=8, num_threads=2, num_workers=1
  )

  def kill():
    (worker,) = multiprocessing.active_children()
    worker.kill()
    worker.join()

  try:
    got = [next(batches)]
    kill()
    got += [next(batches) for _ in range(39)]
    same(got, expected)
    kill()
    number = 40
    with pytest.raises(workers.WorkerDied, match=r"\(exit code -9\)") as e:
      for _ in range(100):
        next(batches)
        number += 1
    # Those of the batch that did not come.
    with contextlib.closing(
      pipeline.train_batches(
        *(digits, TRANSFORM),
        **{"seed": 1, "batch_size": 8, "start_step": number},
      )
    ) as alone:
      next(alone)
      assert f"are {', '.join(alone.names(alone.records))}: " in str(e.value)
  finally:
    batches.close()
