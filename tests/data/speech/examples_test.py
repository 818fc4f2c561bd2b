import logging
import pickle

import numpy as np
import pytest

from d2v_jax.data import layout
from d2v_jax.data.buckets import Buckets
from d2v_jax.data.labels import Characters, RecordLabel
from d2v_jax.data.speech import decoding
from d2v_jax.data.speech.examples import (
  Utterances,
  evaluation_utterances,
  training_utterances,
)
from d2v_jax.data.speech.sources import SOURCES
from tests.data.speech.recordings import Records, encoded, sine, write_files


def records(*lengths, **rest):
  """Decoded sines, each of another pitch, and their texts."""
  return [
    {
      "audio": sine(n, frequency=100.0 * (k + 2)).astype(np.float32),
      "rate": 16_000,
    }
    | {key: values[k] for key, values in rest.items()}
    for k, n in enumerate(lengths)
  ]


def test_examples():
  given = records(800, 900, text=["a", "b"], label=[3, 5])
  given[1]["audio"] = np.stack([given[1]["audio"], np.zeros(900)], axis=1)
  source = Records(given)
  utterances = Utterances(source, labels=RecordLabel())
  assert len(utterances) == 2 and utterances.left_out == {}
  assert utterances.lengths.tolist() == [800, 900]
  assert utterances.lengths.dtype == np.int64
  example = utterances[1]
  assert set(example) == {"samples", "text", "label", "requested", "record"}
  assert (example["requested"], example["record"]) == (1, 1)
  assert (example["text"], example["label"]) == ("b", 5)
  assert example["samples"].dtype == np.float32
  exact = given[1]["audio"].mean(axis=1)
  truth = (exact - exact.mean()) / np.sqrt(exact.var() + 1e-5)
  np.testing.assert_allclose(example["samples"], truth, atol=1e-6)
  assert utterances.record_name(1) == "record 1"
  again = pickle.loads(pickle.dumps(utterances))
  np.testing.assert_array_equal(again[1]["samples"], example["samples"])


def test_resampled():
  given = [{"audio": encoded(sine(8000, 8000), rate=8000)}]
  utterances = Utterances(Records(given, [16_000]))
  out = utterances[0]["samples"]
  assert len(out) == utterances.lengths[0] == 16_000
  truth = decoding.normalise(sine(16_000))
  np.testing.assert_allclose(out[2000:-2000], truth[2000:-2000], atol=1e-3)
  slow = Utterances(Records(records(16_000)), sample_rate=8000)
  assert len(slow[0]["samples"]) == slow.lengths[0] == 8000


def test_the_next_good_utterance_stands_in():
  given = records(*[800] * 7, label=range(7))
  given[2]["audio"] = encoded(sine(800))[:600]  # cut short
  given[3]["audio"] = np.full(800, 0.1, np.float32)  # silent
  given[4]["audio"] = np.ones(399, np.float32)  # header promised more
  given[6]["audio"] = b""
  utterances = Utterances(Records(given, [800] * 7))
  assert [utterances[i]["record"] for i in range(7)] == [0, 1, 5, 5, 5, 5, 0]
  assert [utterances[i]["requested"] for i in range(7)] == list(range(7))
  # Recording and label stay together.
  assert [utterances[i]["label"] for i in range(7)] == [0, 1, 5, 5, 5, 5, 0]
  np.testing.assert_array_equal(
    utterances[2]["samples"], utterances[5]["samples"]
  )


def test_stand_ins_are_among_those_kept():
  given = records(800, 399, 800, 800)
  given[2]["audio"] = b"broken"
  utterances = Utterances(Records(given, [800, 399, 800, 800]))
  assert len(utterances) == 3
  assert [utterances[i]["record"] for i in range(3)] == [0, 2, 2]
  assert utterances.record_name(1) == "record 2"
  assert utterances.record_name(2) == "record 3"


def test_what_is_left_out(caplog):
  lengths = [0, 399, 400, 700, 2000, 800, 0, 9000]
  source = Records(records(*[max(1, n) for n in lengths]), lengths)
  with caplog.at_level(logging.WARNING):
    plain = Utterances(source)
  assert plain.lengths.tolist() == [400, 700, 2000, 800, 9000]
  assert plain.left_out == {
    "unreadable or empty": 2,
    "too short for one frame": 1,
  }
  assert [record.getMessage() for record in caplog.records] == [
    "Utterances: left out 3 of 8 utterances, 3 % of all samples: 2 "
    "unreadable or empty (the first is record 0: too short: 1 samples); 1 "
    "too short for one frame (the first is record 1)"
  ]
  caplog.clear()
  limited = Utterances(source, min_samples=700, max_samples=2000)
  assert limited.lengths.tolist() == [700, 2000, 800]
  assert limited.left_out == {
    "unreadable or empty": 2,
    "too short for one frame": 1,
    "shorter than min_samples=700": 1,
    "longer than max_samples=2000": 1,
  }
  caplog.clear()
  assert Utterances(source, min_frames=2).lengths.tolist() == [2000, 800, 9000]
  assert "2 of fewer than 2 frames (the first is record 2)" in caplog.text
  small = Utterances(source, conv_layers=((8, 400, 400), (8, 2, 1)))
  assert small.lengths.tolist() == [2000, 800, 9000]
  assert len(caplog.records) == 2


def test_labels_longer_than_their_frames():
  # 400 + 320 (n - 1) samples are n frames; "AA" needs A, blank, A and |.
  lengths = [400 + 320 * (n - 1) for n in (4, 3, 3, 2)]
  source = Records(records(*lengths, text=["AA", "aa", "AB", "B"]))
  labels = Characters(8)
  training = Utterances(source, labels=labels, fit_labels=True)
  assert [training[i]["text"] for i in range(3)] == ["AA", "AB", "B"]
  assert training.left_out == {"fewer frames than their labels need": 1}
  # In evaluation all count.
  assert len(Utterances(source, labels=labels)) == 4
  assert len(Utterances(source, fit_labels=True)) == 4


def test_training_and_evaluation():
  buckets = Buckets((1000, 2000))
  source = Records(records(399, 1040, 720, 2001, text=["A", "AAA", "B", "C"]))
  given = {"labels": Characters(8), "conv_layers": layout.CONV_LAYERS}
  training = training_utterances(source, buckets=buckets, **given)
  # Three equal characters, two blanks and a boundary do not fit three frames;
  # what is longer than the largest bucket would lose its end.
  assert [training[i]["text"] for i in range(len(training))] == ["B"]
  pretraining = training_utterances(source, buckets=buckets, min_samples=1000)
  assert pretraining.lengths.tolist() == [1040, 2001]
  evaluation = evaluation_utterances(source, **given)
  assert evaluation.lengths.tolist() == [1040, 720, 2001]


def test_texts_are_tried_at_once():
  source = Records(records(4000, 4000, text=["AB", ""]))
  with pytest.raises(ValueError, match="record 1 has no text, which the label"):
    Utterances(source, labels=Characters(8))
  assert len(Utterances(source, labels=RecordLabel())) == 2
  with pytest.raises(ValueError, match="record 0 has no text"):
    Utterances(Records(records(4000)), labels=Characters(8))
  source = Records(records(4000, 4000, text=["AB", "A-B"]))
  with pytest.raises(
    ValueError,
    match=r"1 of 2 texts have .*: '-' in 1; the first is record 1: 'A-B'",
  ):
    Utterances(source, labels=Characters(8))
  source = Records(records(4000, 4000, text=["AB", "ABCD EFGH"]))
  with pytest.raises(ValueError, match=r"the longest, record 1, has 10 labels"):
    Utterances(source, labels=Characters(8))


def test_errors():
  source = Records(records(300, 5000))
  with pytest.raises(ValueError, match="min_samples must be >= 0, got -1"):
    Utterances(source, min_samples=-1)
  with pytest.raises(ValueError, match="max_samples=10 is below min_samples=2"):
    Utterances(source, min_samples=20, max_samples=10)
  with pytest.raises(
    ValueError,
    match=r"none of 2 utterances is left: 1 too short for one frame \(the "
    r"first is record 0\); 1 longer than max_samples=600 .*; check the files",
  ):
    Utterances(source, max_samples=600)
  with pytest.raises(ValueError, match=r"none of 0 .*: the source is empty"):
    Utterances(Records([]))
  broken = Records([{"audio": b"x"}, {"audio": b""}], [800, 800])
  with pytest.raises(
    ValueError,
    match=r"none of the 2 utterances can be used \(record 0: no sound",
  ):
    Utterances(broken)[0]


def test_every_source(tmp_path):
  files = {
    "train/7/5/7-5-0.flac": encoded(sine(900), "flac"),
    "train/7/5/7-5.trans.txt": "7-5-0 A TEXT\n",
    "all.tsv": "path\ttext\ntrain/7/5/7-5-0.flac\tA TEXT\n",
  }
  path = str(write_files(tmp_path, files))
  np.savez(f"{path}/a.npz", audio=sine(900)[None], text=["A TEXT"])
  built = {
    "arrays": SOURCES["arrays"](path + "/a.npz", rate=16_000),
    "folder": SOURCES["folder"](path),
    "librispeech": SOURCES["librispeech"](path, ("train",)),
    "manifest": SOURCES["manifest"](path + "/all.tsv"),
    "tones": SOURCES["tones"]("test"),
  }
  # Those of Hugging Face need another package, and have tests of their own.
  assert set(built) == set(SOURCES) - {"hf"}
  for name, source in built.items():
    utterances = pickle.loads(pickle.dumps(Utterances(source)))
    example = utterances[0]
    assert len(example["samples"]) == utterances.lengths[0]
    assert len(utterances) == (110 if name == "tones" else 1)
    assert ("label" in example) == bool(source.class_names)
    assert utterances.class_names == source.class_names
    texts = source.texts()
    assert example.get("text") == (None if texts is None else texts[0])
