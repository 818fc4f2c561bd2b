import pytest

from d2v_jax.data.hf.rows import HfRows
from d2v_jax.data.text import examples
from d2v_jax.data.text.hf import HfTexts, TextRows
from tests.data.hf.sets import hf, make

__all__ = ["hf"]  # a fixture


def pairs(hf):
  text = hf.Value("string")
  return make(
    {
      "text": ["In the beginning\n\nGod created", None],
      "second": ["the heaven", "and the earth"],
      "label": [1, 0],
    },
    {"text": text, "second": text, "label": hf.ClassLabel(names=["a", "b"])},
  )


def test_records_and_documents(hf, tmp_path):
  path = str(tmp_path / "x.parquet")
  pairs(hf).to_parquet(path)
  source = HfTexts(path, text_b="second")
  assert source[1] == {"text": "", "text_b": "and the earth", "label": 0}
  assert source.class_names == ("a", "b") and source.labels == [1, 0]
  assert list(source.documents()) == [
    ["In the beginning", "God created", "the heaven"],
    ["and the earth"],
  ]
  packed = examples.training_texts(
    source, {"name": "kjv"}, 2000, max_tokens=32, packing="documents"
  )
  assert len(packed) == 2
  alone = examples.training_texts(source, {"name": "kjv"}, 2000, max_tokens=32)
  assert alone[1]["label"] == 0 and alone.record_name(1) == f"{path}/train[1]"


def test_errors(hf):
  rows = HfRows(pairs(hf), "set")
  with pytest.raises(
    ValueError, match=r"no column 'body'; set text to one of: t"
  ):
    TextRows(rows, text="body")
  with pytest.raises(
    ValueError, match=r"'label' is ClassLabel.*, no text; set t"
  ):
    TextRows(rows, text_b="label")
