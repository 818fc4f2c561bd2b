import re

import pytest

from d2v_jax.data.hf.rows import HfRows
from tests.data.hf.sets import hf, make, texts

__all__ = ["hf"]  # a fixture


def test_labels(hf):
  columns = {
    "label": [1, 0, 1],
    "number": [2, 0, 1],
    "name": ["b", "a", "b"],
    "score": [0.5, 1.5, 2.0],
    "unknown": [-1, 0, -1],
    "gap": [None, 0, 1],
  }
  two = hf.ClassLabel(names=["cat", "dog"])
  types = {"label": two, "unknown": two, "gap": two}
  for name, kind in (
    ("number", "int64"),
    ("name", "string"),
    ("score", "float32"),
  ):
    types[name] = hf.Value(kind)
  rows = HfRows(make(columns, {k: types[k] for k in columns}), "set/train")
  assert rows.labels("label") == ([1, 0, 1], ("cat", "dog"))
  assert rows.labels("number") == ([2, 0, 1], ("0", "1", "2"))
  assert rows.labels("name") == ([1, 0, 1], ("a", "b"))
  assert rows.labels("label", ("x", "y"))[1] == ("x", "y")
  assert rows.labels("score", numeric=True) == ([0.5, 1.5, 2.0], ())
  assert rows.labels(None) == (None, ())
  assert HfRows(texts("a"), "set").labels("label") == (None, ())
  for column, message in (
    ("unknown", "set/train: 'unknown': the label of record 0 is -1, which"),
    ("gap", "'gap': the label of record 0 is missing as of 1 of 3"),
    ("lable", "no column 'lable'; set label to one of: label, number, name"),
  ):
    with pytest.raises(ValueError, match=message):
      rows.labels(column)


def test_columns_that_do_not_fit(hf):
  picture = {"bytes": b"A", "path": None}
  rows = HfRows(
    make(
      {"a": [picture], "b": [picture], "text": ["x"]},
      {"a": hf.Image(), "b": hf.Image(), "text": hf.Value("string")},
    ),
    "set",
  )
  for arguments, message in (
    (
      ("Image", None, "image"),
      "several columns of Image; set image to one of: a",
    ),
    (
      ("Image", "text", "image"),
      "'text' is Value('string'), no image; it must",
    ),
    (
      ("Audio", None, "audio"),
      "no column 'audio'; set audio to one of: a, b, t",
    ),
  ):
    with pytest.raises(ValueError, match=re.escape(message)):
      rows.column_of(*arguments)
  with pytest.raises(
    ValueError, match=r"'a' is .*, no text; set text to one of"
  ):
    rows.check_text("a", "text")
