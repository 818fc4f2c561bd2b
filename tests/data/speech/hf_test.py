import numpy as np
import pytest

from d2v_jax.data.hf.rows import HfRows
from d2v_jax.data.labels import Characters
from d2v_jax.data.speech.examples import Utterances
from d2v_jax.data.speech.hf import AudioRows, HfAudio
from tests.data.hf.sets import hf, make
from tests.data.speech.recordings import encoded, sine

__all__ = ["hf"]  # a fixture


def recordings(hf):
  """Of two rates, one of them a damaged file and one without any."""
  waves = [sine(4000, frequency=200), sine(2000, rate=8000, frequency=300)]
  stored = [
    {"bytes": encoded(waves[0], "flac"), "path": None},
    {"bytes": encoded(waves[1], "wav", 8000), "path": "b.wav"},
    {"bytes": b"no sound", "path": None},
    {"bytes": None, "path": None},
  ]
  columns = {"audio": stored, "text": ["YES", "NO", None, "A"]}
  # A rate of the type must not make the package convert anything.
  types = {"audio": hf.Audio(sampling_rate=44_100), "text": hf.Value("string")}
  return make(columns, types)


def test_files_are_decoded_here(hf, tmp_path):
  path = str(tmp_path / "x.parquet")
  recordings(hf).to_parquet(path)
  source = HfAudio(path, "train")
  np.testing.assert_array_equal(source.lengths(16_000), [4000, 4000, 0, 0])
  assert source.texts() == ["YES", "NO", "", "A"]
  used = Utterances(source)
  assert len(used) == 2 and used[1]["text"] == "NO"
  for k in range(2):
    assert used[k]["samples"].shape == (4000,)
    assert abs(used[k]["samples"].std() - 1) < 1e-3
  # An octave and a half apart: 200 and 300 Hz in 0.25 s.
  peaks = [np.abs(np.fft.rfft(used[k]["samples"])).argmax() for k in range(2)]
  assert peaks == [50, 75]
  assert used.unreadable == {
    f"{path}/train[2]": "no sound: text",
    f"{path}/train[3]": "the row has none",
  }
  labels = Characters(max_length=8)
  with pytest.raises(
    ValueError, match=r"train\[2\] has no text, which the lab"
  ):
    Utterances(source, labels=labels)


def test_samples(hf):
  lists = hf.List(hf.Value("float32"))
  waves = [sine(3000), sine(2000)]
  dataset = make(
    {"x": [x.tolist() for x in waves], "label": [0.5, 1.0]},
    {"x": lists, "label": hf.Value("float32")},
  )
  rows = HfRows(dataset, "set")
  source = AudioRows(rows, audio="x", rate=8000, numeric=True)
  np.testing.assert_array_equal(source.lengths(16_000), [6000, 4000])
  record = source[1]
  assert record["rate"] == 8000 and record["label"] == 1.0
  np.testing.assert_array_equal(record["audio"], waves[1].astype(np.float32))
  assert source.texts() is None
  with pytest.raises(
    ValueError, match="set has samples; set rate, samples per"
  ):
    AudioRows(rows, audio="x", numeric=True)
  with pytest.raises(
    ValueError, match="has files, which say their rate; leave"
  ):
    AudioRows(HfRows(recordings(hf), "set"), rate=8000)
