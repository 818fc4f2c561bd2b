"""Values lie where they should along an axis."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from d2v_jax.report.scale import Scale, scale


def test_linear():
  s = scale([1.0, 4.0], 100, 0)
  assert (s.low, s.high, s.log) == (1.0, 4.0, False)
  assert [s(1), s(2.5), s(4)] == [100, 50, 0]
  assert s.ticks == [1, 2, 3, 4]


def test_far_apart_is_logarithmic():
  s = scale([0.01, 1.0], 0, 100)
  assert s.log
  np.testing.assert_allclose([s(x) for x in (0.01, 0.1, 1)], [0, 50, 100])
  assert scale([0.01, 1.0], 0, 100, log=False).log is False
  assert scale([0.0, 1.0], 0, 100).log is False


def test_one_value_lies_in_the_middle():
  assert scale([3.0], 0, 100)(3.0) == pytest.approx(50)
  assert scale([0.0, 0.0], 0, 100)(0.0) == pytest.approx(50)


@given(
  st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), min_size=1, max_size=5)
)
def test_all_values_are_on_the_axis_and_ticks_are_few(values):
  values = [round(x, 3) for x in values]
  s = scale(values, 0, 100)
  assert all(-1e-6 <= s(x) <= 100 + 1e-6 for x in values)
  assert 2 <= len(s.ticks) <= 7
  assert all(-1e-3 <= s(x) <= 100 + 1e-3 for x in s.ticks)


@pytest.mark.parametrize(("low", "high"), [(1, 1e7), (0.03, 2), (0.9, 40)])
def test_ticks_of_a_logarithmic_axis_are_round(low, high):
  ticks = Scale(low, high, 0, 100, log=True).ticks
  assert 2 <= len(ticks) <= 7
  for value in ticks:
    assert low * 0.999 <= value <= high * 1.001
    assert round(value / 10 ** math.floor(math.log10(value) + 1e-9)) in (
      1,
      2,
      5,
    )
