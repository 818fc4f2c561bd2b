import types

import numpy as np
import pytest

from d2v_jax.data.checking import survey as survey_lib
from d2v_jax.data.files.unreadable import Unreadable
from tests.data.checking.things import Things, look, surveyed


def test_what_is_chosen():
  assert survey_lib.chosen(5, 0) == survey_lib.chosen(5, 5) == [0, 1, 2, 3, 4]
  some = survey_lib.chosen(10_000, 300)
  assert some == sorted(set(some)) == survey_lib.chosen(10_000, 300)
  assert len(some) == 300 and some[0] >= 0 and some[-1] < 10_000
  # From everywhere, not the first ones.
  assert np.mean(some) == pytest.approx(5000, abs=600)


def test_every_record_is_of_one_kind():
  values = [1, None, 2, Unreadable("gone\n"), KeyError("a"), 3]
  found = surveyed("config.x", values, [4, 5, 6, 7, 8, 9])
  assert list(found.looks) == [0, 2, 5]
  assert found.unreadable == {1: "there are 0 of 3", 3: r"gone\n"}
  assert found.broken == {4: "KeyError: 'a'"}
  # Of what could not even be read nobody knows the label.
  assert found.labels == {0: 4, 1: 5, 2: 6, 5: 9}
  assert (found.total, found.looked_at, found.is_complete) == (6, 6, True)


def test_labels_that_are_known_need_no_reading():
  values, labels = [None, KeyError()], np.array([7, 8])
  assert surveyed("x", values, labels, known=True).labels == {0: 7, 1: 8}
  few = Things(values, [7], known=True)
  assert survey_lib.known_labels(few) is None


def test_labels_that_are_no_number_are_none():
  labels = [np.int32(3), 0.5, "word", [1, 2]]
  assert surveyed("x", [1, 2, 3, 4], labels).labels == {0: 3, 1: 0.5}


def test_a_sample_and_no_time():
  found = surveyed("x", range(10), indices=[2, 7])
  assert list(found.looks) == [2, 7]
  assert (found.looked_at, found.is_complete) == (2, False)
  source = Things([1, 2])
  found = survey_lib.survey("x", source, look, [0, 1], seconds=-1)
  assert found.looked_at == 0


def test_no_record_is_begun_when_the_time_is_over(monkeypatch):
  clock = iter(range(100))
  fake = types.SimpleNamespace(monotonic=lambda: next(clock))
  monkeypatch.setattr(survey_lib, "time", fake)
  # Begun at 1, 2 and 3, after a start at 0.
  found = survey_lib.survey("x", Things(range(9)), look, range(9), seconds=3)
  assert list(found.looks) == [0, 1, 2]
