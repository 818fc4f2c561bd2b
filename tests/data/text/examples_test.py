import json
import logging
import pickle

import numpy as np
import pytest

from d2v_jax.data.text import examples, packing, sources, token_cache
from d2v_jax.data.text import tokenizer as tokenizer_lib
from d2v_jax.data.text.text_files import TextFiles

KJV = {"name": "kjv"}


@pytest.fixture
def table(tmp_path):
  rows = [
    {"a": " In the beginning ", "b": "God created", "y": "1"},
    {"a": " ", "b": "", "y": "0"},
    {"a": "the earth", "b": "", "y": "0"},
    {"a": "And the evening and the morning", "b": "the first day", "y": "1"},
  ]
  path = tmp_path / "rows.jsonl"
  path.write_text("".join(json.dumps(row) + "\n" for row in rows))
  return str(path)


def ids(words):
  return tokenizer_lib.load(name="kjv").encode(words).tolist()


def test_single_texts(table, caplog):
  source = sources.TextTable(table, label="y", text="a")
  with caplog.at_level(logging.WARNING):
    made = examples.Texts(source, KJV, 2000)
  assert "left out 1 of 4 records, which have no text" in caplog.text
  assert (len(made), made.left_out) == (3, 1)
  assert made.class_names == ("0", "1")
  wanted = [
    [0, *ids(words), 2]
    for words in (
      "In the beginning",
      "the earth",
      "And the evening and the morning",
    )
  ]
  for some in (made, pickle.loads(pickle.dumps(made))):
    for i, label in enumerate([1, 0, 1]):
      example = some[i]
      assert set(example) == {"tokens", "label", "requested", "record"}
      assert example["tokens"].tolist() == wanted[i]
      assert example["tokens"].dtype == np.int32
      assert example["label"] == label
      assert (example["requested"], example["record"]) == (i, i)
  assert made.lengths.tolist() == [len(w) for w in wanted]
  assert made.lengths.dtype == np.int64
  assert [made.record_name(i)[-2:] for i in range(3)] == [":1", ":3", ":4"]


def test_pairs(table, monkeypatch):
  monkeypatch.setattr(examples, "_CHUNK", 3)
  source = sources.TextTable(table, text="a", text_b="b")
  made = examples.Texts(source, KJV, 2000)
  assert [made[i]["tokens"].tolist() for i in range(3)] == [
    [0, *ids("In the beginning"), 2, 2, *ids("God created"), 2],
    [0, *ids("the earth"), 2, 2, 2],
    [
      0,
      *ids("And the evening and the morning"),
      2,
      2,
      *ids("the first day"),
      2,
    ],
  ]
  assert set(made[0]) == {"tokens", "requested", "record"}


def test_a_cut_keeps_the_last_end(table, caplog):
  source = sources.TextTable(table, text="a", text_b="b")
  whole = examples.Texts(source, KJV, 2000)
  for most in (3, 5, 8):
    made = examples.Texts(source, KJV, 2000, max_tokens=most)
    for i in range(3):
      tokens = whole[i]["tokens"].tolist()
      if len(tokens) > most:
        tokens = [*tokens[: most - 1], 2]
      assert made[i]["tokens"].tolist() == tokens
  lengths = whole.lengths
  share = np.maximum(lengths - 3, 0).sum() / lengths.sum()
  text = f"cut {(lengths > 3).sum()} of 3 texts to max_tokens=3: {share:.0%}"
  assert text.replace("%", " %") in caplog.text


def test_kjv_in_both_ways():
  source = sources.Kjv("test")
  made = examples.training_texts(source, KJV, 2000)
  assert len(made) == 1322 and made[5]["label"] == source[5]["label"]
  for i in (0, 700, 1321):
    wanted = [0, *ids(source[i]["text"]), 2]
    assert made[i]["tokens"].tolist() == wanted
  packed = examples.training_texts(source, KJV, 2000, 128, "complete")
  assert packed.lengths.max() <= 128 and packed.lengths.mean() > 100
  blocks = packing.pack(
    source.documents(), tokenizer_lib.load(**KJV), 128, "complete"
  )
  assert len(packed) == len(blocks)
  example = pickle.loads(pickle.dumps(packed))[3]
  assert set(example) == {"tokens", "requested", "record"}
  assert (example["requested"], example["record"]) == (3, 3)
  np.testing.assert_array_equal(example["tokens"], blocks[3])
  np.testing.assert_array_equal(packed.lengths, blocks.lengths)
  assert packed.record_name(3) == "block[3]"


def test_texts_errors(tmp_path, table):
  source = sources.TextTable(table, text="a")
  with pytest.raises(
    ValueError, match=r"has 2000 tokens; set encoder.vocab_size=2000"
  ):
    examples.Texts(source, KJV, 50265)
  with pytest.raises(ValueError, match=r"set encoder.vocab_size=2000"):
    examples.training_texts(source, KJV, 2001, packing="none")
  with pytest.raises(ValueError, match="max_tokens must be >= 3, got 2"):
    examples.Texts(source, KJV, 2000, 2)
  with pytest.raises(ValueError, match="unknown rule 'all'; choose one of"):
    examples.training_texts(source, KJV, 2000, packing="all")
  (tmp_path / "empty.txt").write_text("\n\n")
  empty = TextFiles(tmp_path / "empty.txt")
  with pytest.raises(ValueError, match="none of the 0 records has text"):
    examples.training_texts(empty, KJV, 2000)
  with pytest.raises(ValueError, match="the source has no text"):
    examples.training_texts(empty, KJV, 2000, packing="documents")


@pytest.fixture
def tokens(tmp_path):
  kjv = tokenizer_lib.load(**KJV)
  made = packing.pack(sources.Kjv("test").documents(), kjv, 64, "none")
  token_cache.write(
    tmp_path / "tokens",
    (made[i] for i in range(len(made))),
    vocab_size=2000,
    fingerprint=kjv.fingerprint,
    block_size=64,
    rule="none",
  )
  return token_cache.Tokens(tmp_path / "tokens")


def test_packed_tokens(tokens):
  for rule in (None, "none"):
    assert examples.training_texts(tokens, KJV, 2000, 64, rule) is tokens
  assert examples.training_texts(tokens, KJV, 2000) is tokens
  with pytest.raises(ValueError, match="packed tokens are for pretraining"):
    examples.Texts(tokens, KJV, 2000)


def test_packed_tokens_of_something_else_are_refused(tmp_path, tokens):
  lines = [x for d in sources.Kjv("test").documents() for x in d]
  tokenizer_lib.train(lines, 400).save(tmp_path / "small.json")
  small = {"path": str(tmp_path / "small.json")}
  with pytest.raises(
    ValueError, match="vocab_size 2000, but the config asks for 400"
  ):
    examples.training_texts(tokens, small, 400)
  other = tokenizer_lib.train(lines, 2000)  # of the other split
  other.save(tmp_path / "other.json")
  with pytest.raises(
    ValueError, match=r"have tokenizer fingerprint .* but the"
  ):
    examples.training_texts(
      tokens, {"path": str(tmp_path / "other.json")}, 2000
    )
  with pytest.raises(ValueError, match=r"packing rule none, but .* documents"):
    examples.training_texts(tokens, KJV, 2000, packing="documents")
  with pytest.raises(ValueError, match=r"block_size 64, but .* asks for 32"):
    examples.training_texts(tokens, KJV, 2000, 32)
