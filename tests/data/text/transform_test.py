import json
import logging
import pickle

import numpy as np
import pytest

from d2v_jax.data.labels import RecordLabel
from d2v_jax.data.masks.text import RandomTokenMask, TokenMask
from d2v_jax.data.text import documents, packing, sequences, token_cache
from d2v_jax.data.text import tokenizer as tokenizer_lib
from d2v_jax.data.text import transform as text_transform

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
  source = documents.TextTable(table, label="y", text="a")
  with caplog.at_level(logging.WARNING):
    made = sequences.Texts(source, KJV, 2000)
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
  monkeypatch.setattr(sequences, "_CHUNK", 3)
  source = documents.TextTable(table, text="a", text_b="b")
  made = sequences.Texts(source, KJV, 2000)
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


def test_a_cut_keeps_the_last_end(table):
  source = documents.TextTable(table, text="a", text_b="b")
  whole = sequences.Texts(source, KJV, 2000)
  for most in (3, 5, 8):
    made = sequences.Texts(source, KJV, 2000, max_tokens=most)
    for i in range(3):
      tokens = whole[i]["tokens"].tolist()
      if len(tokens) > most:
        tokens = [*tokens[: most - 1], 2]
      assert made[i]["tokens"].tolist() == tokens


def test_kjv_in_both_ways():
  source = documents.Kjv("test")
  made = sequences.training_texts(source, KJV, 2000)
  assert len(made) == 1322 and made[5]["label"] == source[5]["label"]
  for i in (0, 700, 1321):
    wanted = [0, *ids(source[i]["text"]), 2]
    assert made[i]["tokens"].tolist() == wanted
  packed = sequences.training_texts(source, KJV, 2000, 128, "complete")
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
  source = documents.TextTable(table, text="a")
  with pytest.raises(
    ValueError, match=r"has 2000 tokens; set encoder.vocab_size=2000"
  ):
    sequences.Texts(source, KJV, 50265)
  with pytest.raises(ValueError, match=r"set encoder.vocab_size=2000"):
    sequences.training_texts(source, KJV, 2001, packing="none")
  with pytest.raises(ValueError, match="max_tokens must be >= 3, got 2"):
    sequences.Texts(source, KJV, 2000, 2)
  with pytest.raises(ValueError, match="unknown rule 'all'; choose one of"):
    sequences.training_texts(source, KJV, 2000, packing="all")
  (tmp_path / "empty.txt").write_text("\n\n")
  empty = documents.TextFiles(tmp_path / "empty.txt")
  with pytest.raises(ValueError, match="none of the 0 records has text"):
    sequences.training_texts(empty, KJV, 2000)
  with pytest.raises(ValueError, match="the source has no text"):
    sequences.training_texts(empty, KJV, 2000, packing="documents")


@pytest.fixture
def tokens(tmp_path):
  kjv = tokenizer_lib.load(**KJV)
  made = packing.pack(documents.Kjv("test").documents(), kjv, 64, "none")
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
    assert sequences.training_texts(tokens, KJV, 2000, 64, rule) is tokens
  assert sequences.training_texts(tokens, KJV, 2000) is tokens
  with pytest.raises(ValueError, match="packed tokens are for pretraining"):
    sequences.Texts(tokens, KJV, 2000)


def test_packed_tokens_of_something_else_are_refused(tmp_path, tokens):
  lines = [x for d in documents.Kjv("test").documents() for x in d]
  tokenizer_lib.train(lines, 400).save(tmp_path / "small.json")
  small = {"path": str(tmp_path / "small.json")}
  with pytest.raises(
    ValueError, match="vocab_size 2000, but the config asks for 400"
  ):
    sequences.training_texts(tokens, small, 400)
  other = tokenizer_lib.train(lines, 2000)  # of the other split
  other.save(tmp_path / "other.json")
  with pytest.raises(
    ValueError, match=r"have tokenizer fingerprint .* but the"
  ):
    sequences.training_texts(
      tokens, {"path": str(tmp_path / "other.json")}, 2000
    )
  with pytest.raises(ValueError, match=r"packing rule none, but .* documents"):
    sequences.training_texts(tokens, KJV, 2000, packing="documents")
  with pytest.raises(ValueError, match=r"block_size 64, but .* asks for 32"):
    sequences.training_texts(tokens, KJV, 2000, 32)


class Chosen:
  """Hides 1 and 4, replaces 2 and keeps 3."""

  num_masks = None

  def check(self, shape, shortest=None):
    pass

  def __call__(self, rng, example):
    tokens, padding = example["inputs"], example["padding"]
    assert padding.tolist() == [False] * 6 + [True] * 2
    assert tokens[6:].tolist() == [1, 1]
    hidden = np.isin(np.arange(8), [1, 4])
    student = np.where(hidden, example["vocab_size"] - 1, tokens)
    student[2] = 77
    selected = np.isin(np.arange(8), [1, 2, 3, 4])
    return {"mask": hidden, "selected": selected, "student_inputs": student}


EXAMPLE = {
  "tokens": np.array([0, 11, 12, 13, 14, 2], np.int32),
  "length": 8,
  "label": 3,
  "requested": 5,
  "record": 5,
}
MASK = [False, True, False, False, True, False, False, False]


def listed(out):
  return {key: np.asarray(value).tolist() for key, value in out.items()}


def test_train_transform():
  rng = np.random.default_rng(0)
  whole = [0, 11, 12, 13, 14, 2, 1, 1]
  at = {"requested": 5, "record": 5}
  out = text_transform.TextTrainTransform(100, Chosen())(EXAMPLE, rng)
  assert listed(out) == {
    "inputs": whole,
    "mask": MASK,
    "student_inputs": [0, 99, 77, 13, 99, 2, 1, 1],
    "selected": [False, True, True, True, True, False, False, False],
    **at,
  }
  assert out["inputs"].dtype == np.int32
  out = text_transform.TextTrainTransform(100, labels=RecordLabel())(
    EXAMPLE, rng
  )
  assert listed(out) == {"inputs": whole, "label": 3, **at}
  assert out["label"].dtype == np.int32


def test_a_mask_may_replace_what_the_teacher_sees():
  mask = TokenMask(0.5, 1, random=0, keep=0, teacher_sees="selected")
  made = text_transform.TextTrainTransform(100, mask)
  out = made(EXAMPLE, np.random.default_rng(0))
  whole = np.array([0, 11, 12, 13, 14, 2, 1, 1])
  assert out["mask"].sum() == 3
  assert out["inputs"].dtype == np.int32
  np.testing.assert_array_equal(out["inputs"], np.where(out["mask"], whole, 1))
  np.testing.assert_array_equal(
    out["student_inputs"], np.where(out["mask"], 99, whole)
  )
  assert set(out) == {
    *("inputs", "mask", "student_inputs", "requested", "record")
  }


@pytest.mark.parametrize("length", [5, 6, 8, 40])
@pytest.mark.parametrize("ratio", [0.48, 0.7])
def test_several_masks(length, ratio):
  made = text_transform.TextTrainTransform(100, RandomTokenMask(3, ratio))
  made = pickle.loads(pickle.dumps(made))
  out = made(EXAMPLE | {"length": length}, np.random.default_rng(0))
  assert set(out) == {"inputs", "mask", "keep_ids", "requested", "record"}
  plain = text_transform.TextTrainTransform(100)(
    EXAMPLE | {"length": length}, np.random.default_rng(0)
  )
  np.testing.assert_array_equal(out["inputs"], plain["inputs"])
  visible, size = int(length * (1 - ratio)), min(6, length)
  assert out["mask"].shape == (3, length) and out["mask"].dtype == np.bool_
  assert out["keep_ids"].shape == (3, visible)
  assert out["keep_ids"].dtype == np.int32
  for hidden, kept in zip(out["mask"], out["keep_ids"].tolist(), strict=True):
    assert hidden.sum() == size - int(size * (1 - ratio))
    assert not hidden[size:].any()
    shown = [i for i in range(size) if not hidden[i]]
    # All visible tokens, then the first of the padding.
    assert kept == [*shown, *range(size, size + visible - len(shown))]


def test_eval_transform():
  made = text_transform.TextEvalTransform(100, RecordLabel())
  out = made(EXAMPLE)
  assert listed(out) == {"inputs": [0, 11, 12, 13, 14, 2, 1, 1], "label": 3}
  assert set(text_transform.TextEvalTransform(100)(EXAMPLE)) == {"inputs"}


def test_a_longer_sequence_is_cut():
  short = EXAMPLE | {"length": 4}
  assert listed(text_transform.TextEvalTransform(100)(short))["inputs"] == [
    0,
    11,
    12,
    2,
  ]
  made = text_transform.TextTrainTransform(100, TokenMask(0.5, 1, 0, 0))
  out = made(short, np.random.default_rng(0))
  assert out["inputs"].tolist() == [0, 11, 12, 2]
  assert out["mask"].shape == (4,) and out["mask"].sum() == 2
  exact = EXAMPLE | {"length": 6}
  assert text_transform.TextEvalTransform(100)(exact)["inputs"].tolist() == [
    *EXAMPLE["tokens"]
  ]


@pytest.mark.parametrize("mask", [TokenMask(), TokenMask(0.35, 4, 0, 0)])
def test_with_the_masks_that_are_shipped(mask):
  made = pickle.loads(
    pickle.dumps(text_transform.TextTrainTransform(2000, mask))
  )
  words = np.concatenate([[0], np.arange(100, 138), [2]]).astype(np.int32)
  example = {"tokens": words, "length": 64, "requested": 0, "record": 0}
  out = made(example, np.random.default_rng(1))
  again = made(example, np.random.default_rng(1))
  assert listed(out) == listed(again)
  assert not out["mask"][40:].any() and out["mask"].any()
  assert ("student_inputs" in out) == (mask.random > 0)
  student = out.get("student_inputs")
  if student is not None:
    assert (student[out["mask"]] == 1999).all()
    assert (student[40:] == 1).all()


def test_transform_errors():
  with pytest.raises(ValueError, match="0 of 1 tokens stay visible"):
    text_transform.TextTrainTransform(100, RandomTokenMask()).check_length(1)
  text_transform.TextTrainTransform(100, RandomTokenMask()).check_length(2)
  one = text_transform.TextTrainTransform(100, TokenMask())
  one.check_length(8, shortest=2)
  with pytest.raises(ValueError, match="TokenMask: one token has to stay"):
    one.check_length(8, shortest=1)
  for made in (
    text_transform.TextEvalTransform(14),
    text_transform.TextTrainTransform(14),
  ):
    with pytest.raises(
      ValueError, match=r"has the token id 14, but encoder.vocab_size is 14"
    ):
      made(EXAMPLE, *([np.random.default_rng(0)] * ("Train" in str(made))))
