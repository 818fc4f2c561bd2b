import math

import pytest

from d2v_jax.training.logs import throughput
from d2v_jax.training.logs.throughput import Throughput
from tests.training.fake_clock import fake_clock


@pytest.fixture
def clock(monkeypatch):
  return fake_clock(monkeypatch, throughput, "monotonic")


def test_examples_per_second_between_reads(clock):
  speed = Throughput(batch_size=8)
  assert speed.read(1, 0.0) is None  # compiling
  speed.begin(1, 0.0)
  clock.now += 2
  speed.begin(2, 0.0)  # counts already: no effect
  clock.now += 2
  assert speed.read(5, 0.0).examples_per_sec == 8 * 4 / 4
  clock.now += 1
  assert speed.read(6, 0.0).examples_per_sec == 8 / 1
  assert speed.eta(10) == 10.0


def test_pauses_are_left_out_once(clock):
  speed = Throughput(batch_size=8)
  speed.begin(0, 0.0)
  clock.now += 1
  with speed.pause():
    clock.now += 100
  clock.now += 1
  assert speed.read(4, 0.0).examples_per_sec == 8 * 4 / 2
  clock.now += 2
  assert speed.read(5, 0.0).examples_per_sec == 8 / 2


def test_no_eta_before_the_first_rate():
  assert math.isnan(Throughput(batch_size=8).eta(10))


def test_the_fraction_of_the_peak(clock):
  speed = Throughput(batch_size=8, peak=50.0)
  speed.add(1e6)  # of the step that compiles
  speed.begin(1, 0.0)
  clock.now += 4
  speed.add(30.0)
  speed.add(50.0)
  assert speed.read(3, 0.0).peak_fraction == 80 / 4 / 50
  clock.now += 1
  speed.add(10.0)
  assert speed.read(4, 0.0).peak_fraction == 10 / 50


def test_the_share_of_waiting(clock):
  speed = Throughput(batch_size=8)
  speed.begin(1, 7.0)
  clock.now += 4
  assert speed.read(2, 8.0).input_wait == 0.25
  clock.now += 2
  assert speed.read(3, 9.0).input_wait == 0.5


def test_what_is_not_known_is_not_logged(clock):
  speed = Throughput(batch_size=8)
  speed.begin(1, 0.0)
  clock.now += 4
  speed.add(30.0)
  logged = speed.read(2, 1.0).metrics()
  assert logged == {"examples_per_sec": 2.0, "input_wait": 0.25}
