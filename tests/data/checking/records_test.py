import pytest

from d2v_jax.data.checking import records
from d2v_jax.data.files.unreadable import Unreadable
from tests.data.checking.things import surveyed


def findings(values, budget=None, indices=None):
  survey = surveyed("x", values, indices=indices)
  return list(records.findings(survey, budget))


def test_reasons_that_differ_in_numbers_are_one():
  values = [Unreadable(x) for x in ("cut", "1 of 2", "3.5 of 20", "gone")]
  assert records.reasons(surveyed("x", values)) == [[1, 2], [0], [3]]


def test_unreadable_ones_by_reason():
  values = [1, 2, None, Unreadable("cut short"), None]
  texts = [x.text for x in findings(values)]
  assert texts == [
    "x: 2 of 5 records looked at cannot be used (thing 2, thing 4): there are "
    "0 of 3. Each is left out; repair or remove them.",
    "x: 1 of 5 records looked at cannot be used (thing 3): cut short. Each is "
    "left out; repair or remove them.",
  ]
  assert "Each is passed over" in findings(values, 3)[0].text


@pytest.mark.parametrize(
  ("indices", "budget", "stops"),
  [
    (None, 2, [False]),
    (None, 1, [True, False]),
    # Two of four looked at, so perhaps four of eight.
    ([0, 1, 2, 3], 3, [False, False]),
    ([0, 1, 2, 3], 4, [False]),
  ],
)
def test_more_than_training_passes_over(indices, budget, stops):
  values = [1, None, None, 2, 3, 4, 5, 6]
  found = findings(values, budget, indices)
  assert [x.stops for x in found] == stops
  if len(stops) == 2:
    assert f"config.data.max_corrupt={budget}" in found[0].text


def test_what_stops_a_run():
  (broken,) = findings([1, TypeError("no"), 2])
  assert broken.stops
  assert broken.text == (
    "x: 1 of 3 records looked at would stop a run; the first is thing 1: "
    "TypeError: no"
  )
  none, _ = findings([None, None])
  assert none.stops and none.text.startswith("x: none of the 2 records can be")
  # Some were not looked at.
  assert not any(x.stops for x in findings([None, None, 1], indices=[0, 1]))


def test_odd_ones():
  found = findings([0.5, 1, 0.5])
  assert [x.text for x in found] == [
    "x: one value all over: 2 of 3 records looked at (thing 0, thing 2); if "
    "nothing can be learned from them, remove them."
  ]
  assert not found[0].stops
