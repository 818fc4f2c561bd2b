import numpy as np
import pytest

from d2v_jax import config as config_lib
from d2v_jax.data.labels import Characters, RecordLabel
from d2v_jax.evaluators import wer as wer_lib
from d2v_jax.evaluators.features import Predictions
from d2v_jax.evaluators.wer import Wer

CHARACTERS = Characters(16, "|ABC")


def frames(text):
  """One digit per frame: 0 blank, 1 boundary, 2 A, 3 B, 4 C."""
  return [int(x) for x in text]


def score(predicted, references, **kwargs):
  width = max(map(len, predicted))
  x = np.array([frames(p.ljust(width, "0")) for p in predicted], np.int32)
  y = np.stack([CHARACTERS({"text": text}) for text in references])
  return Wer(CHARACTERS, **kwargs)({"test": (x, y)})


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


def make(**fields):
  return config_lib.call(Wer, fields, "wer", run={"labels": CHARACTERS})


def test_asks_for_predictions_of_its_split():
  wer = Wer(CHARACTERS, split="train")
  assert wer.features == Predictions("train")
  wer = make(split="train", decoder={"beam": 5})
  assert wer.features == Predictions("train", scores=True)


LM = """\
\\data\\
ngram 1=4
ngram 2=2

\\1-grams:
-9 <s>
-1 </s>
-1 AB
-1 AC

\\2-grams:
-0.1 AB AC
-3 AB AB
\\end\\
"""


def test_a_decoder_and_its_language_model(tmp_path, monkeypatch, capsys):
  (tmp_path / "lm.arpa").write_text(LM)
  # AB AB, of which the last B could nearly be a C; then nothing.
  frames = np.full((7, 5), 0.01)
  frames[range(7), [2, 3, 1, 2, 0, 3, 0]] = 0.96
  frames[5, 3:] = 0.49, 0.48
  blanks = np.where(np.arange(5) > 0, -1e9, 0.0) + np.zeros((7, 1))
  x = np.stack([np.log(frames), blanks]).astype(np.float32)
  y = np.stack([CHARACTERS({"text": "AB AC"}), CHARACTERS({"text": "AB"})])
  splits = {"test": (x, y)}
  wer = make(decoder={"beam": 10})
  assert wer(splits) == {"wer": 2 / 3, "cer": 3 / 7}
  lm = {"lm": str(tmp_path / "lm.arpa")}
  wer = make(decoder=lm)
  assert wer(splits) == {"wer": 1 / 3, "cer": 2 / 7}
  assert capsys.readouterr().err == ""
  monkeypatch.setattr(wer_lib, "_PROGRESS_SECONDS", 0)
  wer(splits)
  assert "decoded 1 of 2 utterances of test\n" in capsys.readouterr().err


@pytest.mark.parametrize(
  ("decoder", "message"),
  [
    ({"beams": 5}, r"decoder\.beams: unknown field \(did you mean 'beam'\?\);"),
    ({"labels": "|A"}, r"decoder\.labels: unknown field"),
    ({"beam": "5"}, r"decoder\.beam: got '5', but it must be an int"),
    ({"lm": "none.arpa"}, "decoder: BeamSearch: .* no such file: none.arpa"),
  ],
)
def test_decoders_that_cannot_be_built(decoder, message):
  with pytest.raises(ValueError, match=message):
    make(decoder=decoder)


def test_scores_that_are_none():
  wer = make(decoder={})
  x, y = np.zeros((1, 3), int), np.ones((1, 3), int)
  with pytest.raises(
    ValueError, match=r"scores of split 'test' are int64 \(1,"
  ):
    wer({"test": (x, y)})


def test_labels_that_are_no_characters():
  with pytest.raises(
    ValueError,
    match=r"config\.data\.labels must be characters, got RecordLabel",
  ):
    Wer(RecordLabel())


@pytest.mark.parametrize(
  ("x", "y", "message"),
  [
    (np.zeros((1, 3), int), None, "labels of split 'test' are absent"),
    (np.zeros(1, int), np.zeros((1, 3), int), r"predictions .* int64 \(1,\)"),
    (np.zeros((1, 3)), np.zeros((1, 3), int), r"predictions .* float64 \(1, 3"),
    (np.zeros((1, 3), int), -np.ones((1, 3), int), "no transcript .* a word"),
    (np.full((1, 3), 9), np.ones((1, 3), int) + 1, "no character number 9"),
  ],
)
def test_errors(x, y, message):
  with pytest.raises(ValueError, match=message):
    Wer(CHARACTERS)({"test": (x, y)})
