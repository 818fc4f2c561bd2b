import numpy as np
import pytest

from d2v_jax.data.labels import Letters, RecordLabel
from d2v_jax.evaluators import EVALUATORS
from d2v_jax.evaluators.features import Predictions
from d2v_jax.evaluators.wer import collapse

LETTERS = Letters(16, "|ABC")


def frames(text):
  """One digit per frame: 0 blank, 1 boundary, 2 A, 3 B, 4 C."""
  return [int(x) for x in text]


def score(predicted, references, **kwargs):
  width = max(map(len, predicted))
  x = np.array([frames(p.ljust(width, "0")) for p in predicted], np.int32)
  y = np.stack([LETTERS({"text": text}) for text in references])
  return EVALUATORS["wer"](LETTERS, **kwargs)({"test": (x, y)})


def test_collapse():
  for path, expected in (
    ("", ""),
    ("000", ""),
    ("2", "2"),
    ("0022203300", "23"),
    ("2202", "22"),
    ("20210", "221"),
  ):
    assert collapse(np.array(frames(path), int)).tolist() == frames(expected)


def test_edits_counted_by_hand():
  predicted = [
    "0223310011441",  # AB | C |
    "2020331",  # AAB |
    "40010",  # C |
    "000",  # nothing
  ]
  references = ["AB C", "AB A", "C", "BB"]
  # Words: 0; AB -> AAB and A missing: 2; 0; BB missing: 1; of 6 words.
  # Characters: 0; A more, space and A missing: 3; 0; 2; of 11.
  assert score(predicted, references) == pytest.approx(
    {"wer": 3 / 6, "cer": 5 / 11}
  )


def test_more_errors_than_words():
  assert score(["2131"], ["C"]) == {"wer": 2, "cer": 3}


def test_some_references_may_be_empty():
  assert score(["21", "0"], ["", "A"]) == {"wer": 2, "cer": 2}


def test_the_last_boundary_may_be_missing_and_there_may_be_many():
  assert score(["0223", "112203114"], ["AB", "AB C"]) == {"wer": 0, "cer": 0}


def test_asks_for_predictions_of_its_split():
  wer = EVALUATORS["wer"](LETTERS, split="train")
  assert wer.features == Predictions("train")


def test_labels_that_are_no_letters():
  with pytest.raises(
    ValueError, match=r"config\.data\.labels must be letters, got RecordLabel"
  ):
    EVALUATORS["wer"](RecordLabel())


@pytest.mark.parametrize(
  ("x", "y", "message"),
  [
    (np.zeros((1, 3), int), None, "labels of split 'test' are absent"),
    (np.zeros(1, int), np.zeros((1, 3), int), r"predictions .* int64 \(1,\)"),
    (np.zeros((1, 3)), np.zeros((1, 3), int), r"predictions .* float64 \(1, 3"),
    (np.zeros((1, 3), int), -np.ones((1, 3), int), "no transcript .* a word"),
    (np.full((1, 3), 9), np.ones((1, 3), int) + 1, "no letter number 9"),
  ],
)
def test_errors(x, y, message):
  with pytest.raises(ValueError, match=message):
    EVALUATORS["wer"](LETTERS)({"test": (x, y)})
