import logging

import numpy as np
import pytest

from d2v_jax import config
from d2v_jax.config import ConfigError
from d2v_jax.data.layout import WaveformInputs
from d2v_jax.data.signals.dataset import SignalData

INPUTS = WaveformInputs(((4, 3, 1), (4, 5, 2)), 8, rate=10.0, channels=2)
FIELDS = {
  "source": {"name": "given"},
  "buckets": {"lengths": (20, 40)},
  "mask": {"name": "spans", "seconds": 0.4},
}


def data(given=None, **fields):
  run = {"inputs": INPUTS, "given": {"train": given}}
  return config.call(SignalData, {**FIELDS, **fields}, "config.data", run=run)


def signals(count=6):
  rng = np.random.default_rng(0)
  return [rng.normal(size=(18 + 6 * i, 2)) for i in range(count)]


@pytest.mark.parametrize("records", [False, True])
def test_rows_of_batches(records, caplog):
  given = signals()
  if records:
    given = [{"signal": x, "label": i} for i, x in enumerate(given)]
  caplog.set_level(logging.INFO)
  source, transform = data(given).training()
  assert (
    "signals of 2 channels at 10 Hz: a frame sees 0.7 s (7 samples), the next "
    "begins 0.2 s (2 samples) later; (channels, kernel, stride) of the "
    "convolutions: (4, 3, 1), (4, 5, 2)"
  ) in caplog.text
  assert source.lengths.tolist() == [18, 24, 30, 36, 42, 48]
  example = {**source[0], "length": 20}
  row = transform(example, np.random.default_rng(0))
  np.testing.assert_array_equal(row["inputs"][:18], example["samples"])
  assert row["inputs"].shape == (20, 2) and not row["inputs"][18:].any()
  # 6 frames of 18 samples, 7 of 20.
  assert row["padding"].tolist() == [False] * 6 + [True]
  assert row["mask"].shape == (7,) and not row["mask"][6]
  cut = transform({**source[5], "length": 40}, np.random.default_rng(0))
  whole = source[5]["samples"]
  starts = [k for k in range(9) if (whole[k : k + 40] == cut["inputs"]).all()]
  assert len(starts) == 1


def test_views_share_gain_and_gap_over_channels():
  made = data(signals(), augment={"views": 2, "wave_augment": {}}).training()
  row = made.transform(
    {**made.source[0], "length": 20}, np.random.default_rng(0)
  )
  assert row["inputs_b"].shape == (20, 2)
  assert (row["inputs"] != row["inputs_b"]).any()


def test_given_values_normalise():
  made = data(signals(), mean=(1.0, 2.0), std=(2.0, 4.0)).training()
  np.testing.assert_allclose(
    made.source[0]["samples"], (signals()[0] - [1, 2]) / [2, 4], atol=1e-6
  )


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    ({"mean": (1.0,), "std": (1.0,)}, "config.data: mean has 1 values for 2"),
    ({"min_seconds": -1.0}, "config.data: signals: min_seconds must be 0 to"),
    ({"labels": {"name": "characters"}}, "unknown 'characters'; choose one of"),
    ({"source": {"name": "tones"}}, "config.data.source.name: unknown 'tones'"),
    ({"buckets": {"lengths": (6,)}}, "make no frame of a batch's length=6"),
  ],
)
def test_what_is_refused(fields, message):
  with pytest.raises(ConfigError, match=message):
    data(signals(), **fields).check()


def test_records_that_are_none():
  wrong = [{"signal": np.zeros(5)}]
  with pytest.raises(ConfigError, match=r"numbers \[samples, channels\], got"):
    data(wrong).records()
