from d2v_jax.data.checking import duplicates
from tests.data.checking.things import surveyed

LEARNED = ("train", "also")


def texts(*surveys):
  return [x.text for x in duplicates.findings(surveys, LEARNED)]


def test_within_and_between():
  one = surveyed("one", [5, 6, 5, 7, 6, 5])
  other = surveyed("other", [7, 8, 7, 5])
  assert duplicates.within(one) == [[0, 2, 5], [1, 4]]
  assert duplicates.shared(one, other) == [(0, 3), (2, 3), (3, 0), (5, 3)]
  assert duplicates.shared(other, one) == [(0, 3), (2, 3), (3, 0)]
  assert duplicates.within(surveyed("x", [1, 2, 3])) == []


def test_what_is_tested_must_not_be_learned_from():
  train, also = surveyed("train", [1, 2, 3]), surveyed("also", [3, 4])
  assert texts(train, also) == []
  test = surveyed("test", [3, 9])
  # Both say so, each of the example that it shares.
  assert texts(train, test, also) == [
    f"1 of 2 examples of test that were looked at are also in {split} (thing 0 "
    f"= thing {k}): what is measured on them says nothing of new data; take "
    "them out of one of the two."
    for split, k in (("train", 2), ("also", 0))
  ]
  part = surveyed("test", [3, 9], indices=[0])
  assert texts(part, train)[0].endswith("--sample=0 compares all of both.")


def test_copies():
  (text,) = texts(surveyed("x", [1, 2, 1, 1], [0, 0, 1, 0]))
  assert text == (
    "x: 2 of 4 examples that were looked at are copies of another one, 1 of "
    "them under another label (thing 0 = thing 2): leave them out unless they "
    "are meant."
  )
  (text,) = texts(surveyed("x", [1, 1], [0, 0]))
  assert "is a copy of another one (thing 0 = thing 1)" in text


def test_a_split_that_is_another_one():
  same = {"also": "train", "test": "train", "test_b": "test", "other": ""}
  (finding,) = duplicates.same_splits(same, LEARNED)
  assert finding.text.startswith("test has the same records as train: what is")
