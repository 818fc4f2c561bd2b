"""Seconds of instructions, worked out by hand."""

import pytest

from d2v_jax.planning.costs import Cost
from d2v_jax.planning.devices import Target
from d2v_jax.planning.estimate import CALIBRATION, estimate
from d2v_jax.planning.program import Instruction
from d2v_jax.training.logs.device_peaks import Peaks

PEAKS = Peaks(flops=1000.0, bandwidth=100.0, memory=10)


def target(platform="tpu", devices=4, **changes):
  fields = {"peaks": PEAKS, "clock": 10.0, "link": 50.0} | changes
  return Target("x:4", (None,) * devices, platform, "X", **fields)


def cost(op="fusion", times=1, place="", **fields):
  attributes = f'metadata={{op_name="{place}"}}'
  instruction = Instruction("i", op, (), (), attributes=attributes)
  return Cost(times, instruction, **fields)


@pytest.mark.parametrize(
  ("costs", "seconds"),
  [
    # Cycles at the clock, or bytes at the bandwidth.
    ([cost(times=3, cycles=20, moved=100.0)], 3 * 2.0),
    ([cost(cycles=20, moved=300.0)], 3.0),
    # Without cycles operations at the peak.
    ([cost(operations=5000.0, moved=300.0)], 5.0),
    ([cost(), cost(cycles=10), cost(cycles=20)], 1.0 + 2.0),
    # Copies run beside.
    ([cost(cycles=10), cost("copy-start", moved=900.0)], 1.0),
    ([cost("copy-done", moved=900.0)], 0.0),
    ([cost("fusion-start", moved=900.0)], 9.0),
  ],
)
def test_computing(costs, seconds):
  assert estimate(costs, target()).seconds == pytest.approx(seconds)


@pytest.mark.parametrize(
  ("kind", "seconds"),
  [
    ("all-gather", 3 / 4 * 100 / 50),
    ("all-reduce", 2 * 3 / 4 * 100 / 50),
    ("reduce-scatter", 3 * 100 / 50),
    ("all-to-all", 3 / 4 * 100 / 50),
    ("collective-permute", 100 / 50),
  ],
)
def test_sending(kind, seconds):
  computing = cost(cycles=50)  # 5 seconds
  waits = [computing, cost(times=2, collective=kind, received=100.0)]
  found = estimate(waits, target())
  assert found.seconds == pytest.approx(5 + 2 * seconds)
  assert (found.computing, found.sending) == pytest.approx((5, 2 * seconds))
  beside = [computing, cost(collective=kind, received=100.0, overlaps=True)]
  found = estimate(beside, target())
  assert found.seconds == pytest.approx(max(5, seconds))


def test_kernels_are_a_part():
  # Products at half of the peak, and 100 exponentials in a cycle.
  kernel = cost(operations=2000.0, exponentials=3000.0, kernel=True)
  found = estimate([kernel, cost(cycles=10)], target())
  assert (found.computing, found.work["kernels"]) == (
    4.0 + 3.0 + 1.0,
    4.0 + 3.0,
  )
  moving = cost(operations=2000.0, moved=900.0, kernel=True)
  assert estimate([moving], target()).work["kernels"] == 9.0
  # On a GPU a floor.
  assert estimate([kernel], target("gpu", clock=None)).work["kernels"] == 2.0


def test_where_the_time_goes():
  step = "jit(train_step)"
  costs = [
    cost(cycles=10, place=f"{step}/jvp(teacher)/_Vit/while/body/blocks/mul"),
    cost(cycles=20, place=f"{step}/jvp(_Vit)/blocks/dot", operations=1.0),
    cost(cycles=30, place=f"{step}/transpose(jvp(_Vit))/blocks/mul", times=2),
    cost(cycles=40, place=f"{step}/jit(_where)/select_n"),
    cost(cycles=50, place="broadcast.7"),
    cost("copy-start", moved=900.0),
    cost(collective="all-reduce", received=100.0, place=f"{step}/jvp(x)/add"),
  ]
  found = estimate(costs, target())
  assert found.work == {"products": 2.0, "kernels": 0.0, "other": 16.0}
  assert found.parts == {
    "teacher": 1.0,
    "forward": 2.0,
    "backward": 6.0,
    "update": 4.0,
    "rest": 5.0,
  }
  assert found.computing == 18.0


def test_what_is_not_known():
  assert estimate([cost(cycles=10)], target(peaks=None)) is None
  collective = cost(collective="all-reduce", received=100.0)
  assert estimate([collective], target(link=None)).seconds == 0
  assert estimate([collective], target(devices=1)).seconds == 0


def test_each_platform_says_how_it_is_estimated():
  assert CALIBRATION.keys() == {"tpu", "gpu", "cpu"}
