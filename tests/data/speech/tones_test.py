import importlib.resources
import pickle

import numpy as np
import pytest
import soundfile

from d2v_jax.data.speech.tones import Tones

FILES = importlib.resources.files("d2v_jax.data") / "embedded"
NAME = "speech_mandarin_tones500"


def test_tones_are_slices_of_the_file():
  whole, rate = soundfile.read(str(FILES / f"{NAME}.ogg"), dtype="float32")
  lines = (FILES / f"{NAME}.tsv").read_text().splitlines()[1:]
  rows = [line.split("\t") for line in lines]
  assert rate == 16_000 and len(rows) == 500
  for split, count in (("train", 390), ("test", 110)):
    source = Tones(split)
    mine = [row for row in rows if row[2] == split]
    assert len(source) == len(mine) == count
    assert source.class_names == ("1", "2", "3", "4")
    assert source.texts() is None
    lengths = source.lengths(16_000)
    for i in (0, 1, count - 1):
      start, end, _, tone, *_ = mine[i]
      record = source[i]
      np.testing.assert_array_equal(
        record["audio"], whole[int(start) : int(end)]
      )
      assert record["rate"] == 16_000 and record["label"] == int(tone) - 1
      assert lengths[i] == len(record["audio"])
    assert source.lengths(8000).tolist() == [-(-n // 2) for n in lengths]
    assert source.record_name(3) == f"tones/{split}[3]"


def test_no_syllable_is_in_both_splits():
  lines = (FILES / f"{NAME}.tsv").read_text().splitlines()[1:]
  parts = {"train": set(), "test": set()}
  for _, _, split, _, base, _ in (line.split("\t") for line in lines):
    parts[split].add(base)
  assert not parts["train"] & parts["test"]


def test_tones_travel_without_their_samples():
  data = pickle.dumps(Tones("test"))
  assert len(data) < 20_000
  np.testing.assert_array_equal(
    pickle.loads(data)[5]["audio"], Tones("test")[5]["audio"]
  )


def test_the_licence_is_there():
  text = (FILES / "LICENSE-speech.txt").read_text()
  assert "CC BY 3.0" in text and "Chu Lo / ChionMeilin" in text


def test_unknown_split():
  with pytest.raises(ValueError, match="'dev'; choose one of: test, train"):
    Tones("dev")
