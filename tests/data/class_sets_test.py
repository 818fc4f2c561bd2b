import numpy as np
import pytest

from d2v_jax.data import class_sets
from d2v_jax.data.class_sets import ClassSets


@pytest.mark.parametrize(
  ("label", "row"),
  [((0, 3), [1, 0, 0, 1]), ((), [0] * 4), (2, [0, 0, 1, 0])],
)
def test_a_row_says_of_each_class_whether_it_is_there(label, row):
  made = ClassSets(4)({"label": label})
  assert made.dtype == bool and made.tolist() == list(map(bool, row))
  assert ClassSets(4).num_outputs == 4


@pytest.mark.parametrize(
  ("record", "message"),
  [
    ({"label": (0, 4), "record": 7}, r"of record 7 is \(0, 4\), but classes "),
    ({"label": (-1,)}, r"is \(-1,\), but classes are counted from 0 to 3"),
    ({"label": 0.5}, "is 0.5; it must be class numbers"),
    ({"text": "a"}, "has no 'label', only text"),
  ],
)
def test_a_label_that_is_none(record, message):
  with pytest.raises(ValueError, match=message):
    ClassSets(4)(record)


def test_no_classes():
  with pytest.raises(ValueError, match="num_classes must be 1 or more, got 0"):
    ClassSets(0)


ROWS = [["rain", "dog"], [], ["wind"]]
SETS = [(0, 1), (), (2,)]
NAMES = ("dog", "rain", "wind")


@pytest.mark.parametrize(
  ("rows", "classes", "sets", "names"),
  [
    (ROWS, None, SETS, NAMES),
    ([["b"], ["a", "b"]], ("b", "a", "c"), [(0,), (0, 1)], ("b", "a", "c")),
    ([[2, 0], ()], None, [(0, 2), ()], ("0", "1", "2")),
    ([np.array([1]), [0]], ("x", "y"), [(1,), (0,)], ("x", "y")),
    (np.array([[0, 1], [1, 1]]), None, [(1,), (0, 1)], ("0", "1")),
    (np.eye(2, dtype=bool), ("x", "y"), [(0,), (1,)], ("x", "y")),
  ],
)
def test_of_rows(rows, classes, sets, names):
  assert class_sets.of_rows(rows, "Owner", classes) == (sets, names)


@pytest.mark.parametrize(
  ("rows", "classes", "message"),
  [
    ([[1, 0, 1]], None, "record 0 has a class twice: .* an array of 0 and 1"),
    ([["a"], "b"], None, "record 1 has 'b', where others have a list"),
    ([["a"], None], None, "record 1 has None, where others have a list"),
    ([["a"], [1]], None, "classes are int, str; give texts, or whole numbers"),
    ([[], []], None, "no record has any class"),
    ([[0, 2]], ("a", "b"), "numbers are 0 to 2; they count from 0 to 1"),
    ([[-1]], None, "class numbers are -1 to -1; they count from 0"),
    ([["a", "b"]], ("a",), "1 classes are not among the 1 given, the first"),
    ([["a"], ["a "]], None, "Owner has the classes 'a', 'a '"),
    (np.array([[0, 2]]), None, r"labels are int64 \[1, 2\]; give one for each"),
    (np.zeros((1, 1, 1)), None, r"labels are float64 \[1, 1, 1\]"),
    (np.eye(2), ("a",), "labels have 2 columns, but there are 1 classes"),
  ],
)
def test_of_rows_that_are_wrong(rows, classes, message):
  with pytest.raises(ValueError, match=message):
    class_sets.of_rows(rows, "Owner", classes)


def test_of_texts():
  texts = ["a;b, c", " ", "b ; a", '["x;y", "z"]', "[a", "[1, 2]"]
  assert class_sets.of_texts(texts, ";", "Owner") == [
    ["a", "b, c"],
    [],
    ["b", "a"],
    ["x;y", "z"],
    ["[a"],
    ["1", "2"],
  ]


@pytest.mark.parametrize("text", ["a,,b", "a,", '["a", ""]', '["a", null]'])
def test_of_texts_without_a_name(text):
  with pytest.raises(ValueError, match="record 1 has a class without a name"):
    class_sets.of_texts(["a", text], ",", "Owner")


def test_of_texts_without_a_separator():
  with pytest.raises(ValueError, match="label_separator is empty"):
    class_sets.of_texts(["a"], "", "Owner")
