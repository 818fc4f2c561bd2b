"""The search for what fits, with memory that is a line."""

import types

import pytest

from d2v_jax import config_file
from d2v_jax.planning.fit import SIZES, Way, candidates, cheapest, largest


def row(memory, limit, seconds=None):
  return types.SimpleNamespace(
    memory_bytes=memory,
    fits=memory <= limit,
    target=types.SimpleNamespace(memory=limit, peaks=None),
    time=seconds and types.SimpleNamespace(seconds=seconds),
  )


class Measured:
  """Memory of a batch; counts how often it is asked."""

  def __init__(self, each, constant, limit):
    self.each, self.constant, self.limit = each, constant, limit
    self.asked = []

  def __call__(self, size):
    self.asked.append(size)
    made = row(self.constant + self.each * size, self.limit)
    made.size = size
    return made


def test_sizes():
  assert SIZES[:9] == (1, 2, 3, 4, 6, 8, 12, 16, 24)


@pytest.mark.parametrize("start", [1, 5, 32, 512, 100_000])
@pytest.mark.parametrize(
  ("each", "constant", "expected"),
  [(10, 100, 64), (1.0, 0, 768), (400, 100, 2), (899, 100, 1), (2, 800, 96)],
)
def test_largest(each, constant, expected, start):
  measure = Measured(each, constant, limit=1000)
  found = largest(measure, start)
  assert found.size == expected
  assert len(measure.asked) == len(set(measure.asked)) <= 6


def test_nothing_fits():
  measure = Measured(10, 2000, limit=1000)
  assert largest(measure, 64) is None
  assert min(measure.asked) == 1


def test_everything_fits():
  assert largest(Measured(0, 1, limit=1000), 64).size == SIZES[-1]


def config(**changes):
  made = config_file.load("vit_small")
  made.encoder.remat = "none"
  for path, value in changes.items():
    config_file.override(made, path, str(value))
  return made


def test_candidates():
  found = list(candidates(config(), batch=64, micro_batch=24, devices=4))
  alone = [x for x in found if len(x) == 1]
  assert found[0] == {}
  assert {"accumulate": 4} in alone  # micro-batches of 16, as 64 / 3 is none
  assert {"sharding": "fsdp"} in alone
  assert {"encoder.remat": "dots"} in alone
  last = {"encoder.remat": "full"}
  assert {**last, "accumulate": 4} in found
  assert {**last, "sharding": "fsdp"} in found
  assert len(found) == len({str(x) for x in found})


def test_candidates_of_one_device_and_of_what_is_split_already():
  full = {"encoder.remat": "full"}
  found = candidates(config(**full), batch=8, micro_batch=8, devices=1)
  assert list(found) == [{}, {"encoder.remat": "dots"}]
  for made, devices in ((config(), 1), (config(sharding="fsdp"), 4)):
    found = list(candidates(made, batch=8, micro_batch=8, devices=devices))
    assert not any("sharding" in x or "accumulate" in x for x in found)


def test_if_nothing_fits_at_once_there_are_no_micro_batches():
  found = candidates(config(), batch=1, micro_batch=0, devices=2)
  assert not any("accumulate" in x for x in found)


def test_cheapest():
  def way(memory, seconds, **settings):
    return Way(settings, row(memory, 100, seconds))

  slow, fast, large = way(10, 3.0, a=1), way(50, 2.0, b=1), way(200, 1.0)
  assert cheapest([large, slow, fast]) is fast
  assert cheapest([large]) is None
  unknown = [way(200, None), way(50, None, a=1), way(10, None, b=1)]
  assert cheapest(unknown) is unknown[1]
