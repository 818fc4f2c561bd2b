import numpy as np
import pytest

from d2v_jax.data.label_values import labelled, of_record


@pytest.mark.parametrize(
  ("values", "fields", "labels", "names"),
  [
    (np.array([2, 0], np.uint8), {}, [2, 0], ("0", "1", "2")),
    ([1, 0], {"classes": ("no", "yes", "?")}, [1, 0], ("no", "yes", "?")),
    ([True, False], {}, [1, 0], ("0", "1")),
    (["b", "a", "b"], {}, [1, 0, 1], ("a", "b")),
    (np.array([b"b", b"a"]), {}, [1, 0], ("a", "b")),
    (["b", "a"], {"classes": ("b", "a")}, [0, 1], ("b", "a")),
    (np.array([0.5, 2]), {"numeric": True}, [0.5, 2.0], ()),
    ([3, 4], {"numeric": True}, [3.0, 4.0], ()),
    ([["b", "a"], []], {}, [(0, 1), ()], ("a", "b")),
    (np.array([[0, 1]]), {"classes": ("x", "y")}, [(1,)], ("x", "y")),
  ],
)
def test_labels(values, fields, labels, names):
  found = labelled(values, "Owner", **fields)
  assert found == (labels, names)
  assert {type(x) for x in found[0]} == {type(x) for x in labels}


@pytest.mark.parametrize(
  ("values", "fields", "message"),
  [
    ([0, -1, -1], {}, r"record 1 is -1, .* as of 2 of 3; leave such records"),
    ([0, None], {}, "label of record 1 is missing as of 1 of 2"),
    (["a", ""], {}, "label of record 1 is empty"),
    ([0.0, 1.0], {}, "labels are float64; classes are whole numbers from 0 on"),
    (np.zeros((2, 1, 1)), {}, r"labels are float64 \[2, 1, 1\]; give one for"),
    ([[0], [1]], {"numeric": True}, "several for a record; set numeric=False"),
    (
      [0, 3],
      {"classes": ("a", "b")},
      "largest label is 3, but there are 2 cla",
    ),
    ([20261128], {}, "largest label is 20261128; class numbers go from 0 to"),
    (
      ["c"],
      {"classes": ("a", "b")},
      "label 'c' is not among the classes 'a', ",
    ),
    (["a", "a "], {}, "Owner has the classes 'a', 'a ', which differ only in"),
    (["a"], {"classes": ("a", "a")}, "classes has a class twice"),
    (
      [1.0],
      {"classes": ("a",), "numeric": True},
      "classes or numeric=True, no",
    ),
    (
      ["a"],
      {"numeric": True},
      "labels are <U1, not numbers; set numeric=False",
    ),
    ([0.0, np.nan], {"numeric": True}, "label of record 1 is not finite"),
  ],
)
def test_errors(values, fields, message):
  with pytest.raises(ValueError, match=message):
    labelled(values, "Owner", **fields)


def test_of_record():
  assert of_record(np.int8(3)) == 3 and of_record(0.5) == 0.5
  assert of_record(np.array([0, 2])) == (0, 2) and of_record([]) == ()
