"""Rules for recordings against what the shipped configs have, and by hand."""

import numpy as np
import pytest

from d2v_jax import config_file
from d2v_jax.deriving import marks, recordings

ENCODER = [
  "conv_layers",
  "width",
  "depth",
  "num_heads",
  "position_depth",
  "position_width",
  "position_groups",
]


def chosen(seconds, count, small=False):
  made = marks.Chosen(config_file.load("own_speech"))
  findings = recordings.RecordingFindings(count=count, seconds=tuple(seconds))
  is_small = recordings.choose(findings, made, small, 1)
  return made.values, is_small


@pytest.mark.parametrize(
  ("name", "seconds", "count"),
  [("audio_folder", (1.0, 1.5), 5_000), ("tones", (0.25, 0.35), 390)],
)
def test_the_network_of_a_shipped_config(name, seconds, count):
  values, is_small = chosen(seconds, count)
  theirs = config_file.load(name)
  assert is_small == (name == "tones")
  for field in ENCODER:
    assert values[f"encoder.{field}"] == theirs.encoder[field], field
  assert values["encoder.dropout"] == theirs.encoder.get("dropout", 0.0)
  assert values["data.mask.length"] == theirs.data.mask.length
  assert values["batch_size"] == theirs.batch_size
  ema = theirs.objective.ema
  assert recordings.averages(theirs.total_steps) == (ema.start, ema.end)


def test_lengths_hold_nearly_all_and_ten_seconds_at_most():
  seconds = [*np.linspace(1, 2, 97), 60, 60, 60]
  values, _ = chosen(seconds, 5_000)
  lengths = values["data.buckets.lengths"]
  assert len(lengths) == 3 and list(lengths) == sorted(lengths)
  # 95 of 100 are of 1.98 s or less: 31,667 samples, in tenths of a second.
  assert lengths[-1] == 32_000
  assert all(x % 1_600 == 0 for x in lengths)
  assert values["batch_size"] == 32
  values, _ = chosen([30.0, 40.0], 5_000)
  assert values["data.buckets.lengths"] == (160_000,)
  assert values["batch_size"] == 16


def test_no_batch_is_too_short_for_masks():
  assert chosen([0.2], 5_000)[0]["data.buckets.lengths"] == (4_800,)
  lengths = chosen([0.2, 0.9, 0.9], 5_000)[0]["data.buckets.lengths"]
  assert lengths == (8_000, 14_400)


def test_the_smaller_network_where_it_is_asked_for():
  values, is_small = chosen([1.0], 5_000, small=True)
  assert is_small and values["encoder.width"] == 96
  assert values["encoder.dropout"] == 0.0
