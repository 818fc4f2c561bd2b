import numpy as np
import pytest

from d2v_jax import config as config_lib
from d2v_jax.config import ConfigError
from d2v_jax.data import layout
from d2v_jax.data.speech.dataset import SpeechData
from tests.data.speech.recordings import encoded, sine, write_files


def build(folder, **fields):
  return config_lib.call(
    SpeechData,
    {
      "source": {"name": "folder", "path": str(folder)},
      "buckets": {"lengths": (8000,)},
      **fields,
    },
    "config.data",
    run={"inputs": layout.WaveformInputs(((8, 40, 20),), width=8)},
  )


def test_long_recordings_are_left_out_everywhere(tmp_path):
  write_files(
    tmp_path,
    {
      f"{k}.wav": encoded(sine(n)) for k, n in enumerate((8000, 16_000, 24_001))
    },
  )
  for most, kept in ((1800, 3), (1.5, 2), (0.5, 1)):
    data = build(tmp_path, max_seconds=most)
    training = data.training().source
    records = data.open(data.source, "config.evaluation.test")
    evaluation = data.evaluation(records, "config.evaluation.test").source
    for source in (training, evaluation):
      assert len(source) == kept
      left_out = (
        {f"longer than max_seconds={most}": 3 - kept} if kept < 3 else {}
      )
      assert source.left_out == left_out
      assert all(np.isfinite(source[i]["samples"]).all() for i in range(kept))


def test_errors(tmp_path):
  with pytest.raises(
    ConfigError, match=r"max_seconds must be 0.001 to .*, got 0"
  ):
    build(tmp_path, max_seconds=0)
