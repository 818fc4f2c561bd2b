import os

import pytest

from d2v_jax.data.checking import classes
from tests.data.checking.things import surveyed

ANIMALS = ("cat", "dog", "fox")


def texts(*surveys):
  return [finding.text for finding in classes.findings(surveys)]


def test_counts_and_shares():
  found = classes.of(
    surveyed("x", [1, 2, 3, 4], [1, 0, 1, 1], class_names=ANIMALS)
  )
  assert found.counts == {"cat": 1, "dog": 3, "fox": 0}
  assert found.shares == {"cat": 0.25, "dog": 0.75, "fox": 0.0}
  assert found.of_all


def test_names_that_cannot_be_printed():
  names = (os.fsdecode(b"caf\xe9"), "tea\n")
  found = classes.of(surveyed("x", [1, 2], [0, 1], class_names=names))
  assert list(found.counts) == [r"caf\udce9", r"tea\n"]


def test_of_a_sample():
  labels = [0, 1, 1, 1]
  some = classes.of(surveyed("x", range(4), labels, indices=[0, 1]))
  assert (some.counts, some.of_all) == ({"0": 1, "1": 1}, False)
  known = surveyed("x", range(4), labels, indices=[0], known=True)
  every = classes.of(known)
  assert (every.counts, every.of_all) == ({"0": 1, "1": 3}, True)


@pytest.mark.parametrize("labels", [None, [0.5, 1.0]])
def test_no_classes(labels):
  assert classes.of(surveyed("x", [1, 2], labels)) is None


def test_a_split_that_lacks_a_class():
  train = surveyed("train", [1, 2, 3], [0, 1, 2], class_names=ANIMALS)
  same = surveyed("same", [1, 2, 3], [2, 1, 0], class_names=ANIMALS)
  assert texts(train, same) == []
  test = surveyed("test", [1, 2], [0, 1], class_names=ANIMALS[:2])
  (text,) = texts(train, test)
  assert text == (
    "test has no example of 1 of 3 classes (fox), of which train has some: add "
    "examples, or leave the classes out everywhere."
  )
  # In a sample it may only not have been met.
  part = surveyed("test", [1, 2], [0, 1], [0], class_names=ANIMALS)
  assert texts(train, part) == []


def test_several_splits_and_classes_of_another_kind():
  train = surveyed("train", [1, 2, 3], [0, 1, 2], class_names=ANIMALS)
  test = surveyed("test", [1], [0], class_names=ANIMALS)
  words = surveyed("words", [1, 2], [0, 1], class_names=("yes", "no"))
  (text,) = texts(train, test, words)
  assert text.startswith(
    "test has no example of 2 of 3 classes (dog, fox), of which train has some"
  )
  more = surveyed("more", [1, 2], [0, 2], class_names=ANIMALS)
  second, third = texts(train, test, words, more)
  assert "(dog, fox), of which train and more have some" in second
  assert "more has no example of 1 of 3 classes (dog), of which train" in third


def test_looking_further_at_a_class():
  labels = [0] * 40 + [1] * 3 + [2] * 2
  values = [None] * 40 + [None, 1, None] + [5, 6]
  some = surveyed("x", values, labels, [0, 7, 40, 43], known=True)
  # One or two are too few to tell.
  assert texts(some) == []
  further = classes.to_look_further(some)
  assert further == [*range(1, 7), *range(8, 16), 41, 42]
  more = some.with_more(surveyed("x", values, labels, further, known=True))
  (text,) = texts(more)
  assert text.startswith(
    "x: nothing of the class 0 can be read, 16 of 40 looked at (the first is "
  )
  assert classes.to_look_further(more) == []
  # Who cannot say which records are of a class cannot be asked.
  assert classes.to_look_further(surveyed("x", values, labels, [0, 43])) == []


def test_a_class_of_which_nothing_can_be_read():
  labels = [0, 1, 1, 1]
  some = surveyed("x", [1, None, None, 2], labels, class_names=ANIMALS)
  assert not texts(some)
  # That none can be read at all is another finding.
  assert not texts(surveyed("x", [None] * 4, labels, class_names=ANIMALS))
  none = surveyed("x", [1, None, None, None], labels, class_names=ANIMALS)
  (text,) = texts(none)
  assert text == (
    "x: nothing of the class dog can be read, 3 of 3 looked at (the first is "
    "thing 1: there are 0 of 3); repair the files, or leave the class out."
  )


def test_several_classes_of_an_example():
  labels = [(0, 1), (), (1,), (1, 2)]
  found = classes.of(
    surveyed("x", [1, 2, 3, None], labels, class_names=ANIMALS, known=True)
  )
  assert found.counts == {"cat": 1, "dog": 3, "fox": 1}
  assert found.shares == {"cat": 0.25, "dog": 0.75, "fox": 0.25}
  (text,) = texts(
    surveyed("x", [1, 2, 3, None], labels, class_names=ANIMALS, known=True)
  )
  assert "x: nothing of the class fox can be read, 1 of 1 looked at" in text
  none = [None] * 17 + [4]
  sample = surveyed(
    "x", none, [(0, 1)] * 18, class_names=ANIMALS, known=True, indices=[0, 1]
  )
  assert classes.to_look_further(sample) == list(range(2, 16))
