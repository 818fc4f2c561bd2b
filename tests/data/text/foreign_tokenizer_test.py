"""Tokenizers of other kinds, with ids in our order."""

import json
import pickle

import numpy as np
import pytest
import tokenizers

from d2v_jax.data.text import foreign_tokenizer, tokenizer
from d2v_jax.data.text.arrays import TextArrays
from d2v_jax.data.text.examples import Texts

TOKENS = [
  "[PAD]",
  "x",
  "[UNK]",
  "[CLS]",
  "[SEP]",
  "[MASK]",
  "the",
  "be",
  "##gin",
]
ORDER = [3, 0, 4, 2, 1, 6, 7, 8, 5]


def word_piece():
  made = tokenizers.BertWordPieceTokenizer({t: i for i, t in enumerate(TOKENS)})
  made.enable_truncation(2)
  made.enable_padding(length=9)
  return made.to_str()


@pytest.fixture
def folder(tmp_path):
  made = foreign_tokenizer.files(word_piece().encode(), ORDER, 1)
  for name, content in made.items():
    (tmp_path / name).write_bytes(content)
  return tmp_path


def test_ids(folder):
  loaded = tokenizer.load(folder)
  assert loaded.vocab_size == 9 and loaded.pair_separators == 1
  first, second = loaded.encode_batch(["The begin, x", "[MASK] be"])
  assert first.tolist() == [5, 6, 7, 3, 4]
  # A name of a special token is text, and no input can smuggle one in.
  assert 8 not in second and second[-1] == 6
  assert loaded.decode([0, 5, 6, 7, 2, 1]) == "the begin"
  with pytest.raises(ValueError, match="id 9 is not in 0 to 8"):
    loaded.decode([9])
  again = pickle.loads(pickle.dumps(loaded))
  assert again.fingerprint == loaded.fingerprint
  np.testing.assert_array_equal(again.encode("the x"), [5, 4])
  with pytest.raises(ValueError, match="ids of another order; keep the folder"):
    loaded.save(folder / "new.json")


def test_pairs_have_one_separator(folder):
  source = TextArrays(
    {"text": ["the", "x"], "text_b": ["be", "the"]}, "given", text_b="text_b"
  )
  texts = Texts(source, {"path": str(folder)}, 9)
  assert texts[0]["tokens"].tolist() == [0, 5, 2, 6, 2]


@pytest.mark.parametrize(
  ("name", "content", "message"),
  [
    (
      "order.json",
      json.dumps({"order": ORDER}),
      "must have .* order.json: 'pa",
    ),
    (
      "order.json",
      json.dumps({"order": ORDER[1:], "pair_separators": 1}),
      "order.json must have each of the ids 0 to 8 once",
    ),
    ("tokenizer.json", "{}", "tokenizer.json is no tokenizer"),
  ],
)
def test_damaged_files(folder, name, content, message):
  (folder / name).write_text(content)
  with pytest.raises(ValueError, match=message):
    tokenizer.load(folder)
