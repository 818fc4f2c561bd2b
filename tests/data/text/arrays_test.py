import numpy as np
import pytest

from d2v_jax.data.text import examples
from d2v_jax.data.text.arrays import TextArrayFiles, TextArrays

TEXTS = ["In the beginning\n\nGod created", "the heaven and the earth"]


def test_files(tmp_path):
  np.savez(tmp_path / "x.npz", text=TEXTS, second=["a", "b"], label=[0.5, 1.5])
  path = str(tmp_path / "x.npz")
  source = TextArrayFiles(path, text_b="second", numeric=True)
  assert source[1] == {"text": TEXTS[1], "text_b": "b", "label": 1.5}
  assert source.record_name(1) == f"{path}[1]" and len(source) == 2
  assert list(source.documents()) == [
    ["In the beginning", "God created", "a"],
    [TEXTS[1], "b"],
  ]
  packed = examples.training_texts(
    source, {"name": "kjv"}, 2000, max_tokens=32, packing="documents"
  )
  assert len(packed) == 2


def test_bytes_and_lists():
  source = TextArrays({"text": np.array([b"a", b"\xc3\xa9"])}, "given")
  assert [source[i]["text"] for i in (0, 1)] == ["a", "é"]
  source = TextArrays({"text": ["a", None], "label": ["x", "y"]}, "given")
  assert source[1] == {"text": "", "label": 1}
  assert source.class_names == ("x", "y")


@pytest.mark.parametrize(
  ("arrays", "message"),
  [
    (
      {"text": np.zeros((2, 5), int)},
      r"'text' must be texts, got int64 \[2, 5",
    ),
    ({"text": ["a", 1]}, "'text', row 1, must be text, got int"),
    ({"text": [b"\xff"]}, "'text', row 0, is not UTF-8"),
    ({"lines": ["a"]}, "there is no array 'text', only lines; set text to one"),
  ],
)
def test_errors(arrays, message):
  with pytest.raises(ValueError, match=f"TextArrays: {message}"):
    TextArrays(arrays, "given")
