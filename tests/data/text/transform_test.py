import pickle

import numpy as np
import pytest

from d2v_jax.data.labels import RecordLabel
from d2v_jax.data.masks.text import RandomTokenMask, TokenMask
from d2v_jax.data.text import transform as text_transform


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
  for kind in (
    text_transform.TextTrainTransform,
    text_transform.TextEvalTransform,
  ):
    with pytest.raises(ValueError, match=r"vocab_size must be 5 to .*, got 4"):
      kind(4)
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


@pytest.mark.parametrize(("length", "kept"), [(3, 0.5), (6, 1.0), (8, 1.0)])
def test_what_a_batch_keeps(length, kept):
  made = text_transform.TextTrainTransform(100)
  rng = np.random.default_rng(0)
  assert made.kept({**EXAMPLE, "length": length}, rng) == kept
