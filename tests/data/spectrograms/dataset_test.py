import logging

import numpy as np
import pytest

from d2v_jax import config
from d2v_jax.config import ConfigError
from d2v_jax.data.layout import SpectrogramInputs
from d2v_jax.data.spectrograms.dataset import SpectrogramData

INPUTS = SpectrogramInputs((8, 12), 4)  # of 1520 samples
FIELDS = {
  "source": {"name": "given"},
  "mask": {"name": "inverse_blocks", "ratio": 0.5, "length": 1},
}


def data(**fields):
  rng = np.random.default_rng(0)
  given = [
    {"audio": rng.normal(0, 0.1, n), "rate": 16_000, "label": i}
    for i, n in enumerate((300, 760, 1520, 3040))
  ]
  run = {"inputs": INPUTS, "given": {"train": given}}
  return config.call(
    SpectrogramData, {**FIELDS, **fields}, "config.data", run=run
  )


def test_what_is_used_and_what_is_cropped_is_said(caplog):
  caplog.set_level(logging.INFO)
  source, transform = data(labels={"name": "label"}).training()
  assert source.lengths.tolist() == [760, 1520, 3040]
  assert source.left_out == {"too short for one frame": 1}
  assert (
    "training crops 1 of 3 recordings to 0.095 s (encoder.frames): 29 % of all "
    "there is to learn from sits out each epoch, the longest has 0.19 s"
  ) in caplog.text
  assert (
    "recordings become 0.095 s of 8 frames; 17 % of them is silence behind "
    "shorter ones"
  ) in caplog.text
  row = transform(source[2], np.random.default_rng(0))
  assert row["inputs"].shape == (8, 12, 1) and row["label"] == 3
  assert row["mask"].shape == (16, 6)


def test_short_ones_are_evaluated_but_not_learned_from():
  made = data(min_seconds=0.06)
  records = made.records()
  assert len(made.training(records).source) == 2
  examples = made.evaluation(records, "config.evaluation.test")
  assert len(examples.source) == 3
  assert examples.transform(examples.source[0])["inputs"].shape == (8, 12, 1)


def test_a_look_has_the_mean_and_the_std_of_the_values():
  made = data()
  records = made.records()
  moments = made.look(records[3]).moments
  std = np.sqrt(moments[1] - moments[0] ** 2)
  again = data(mean=moments[0].tolist(), std=std.tolist())
  rows = again.evaluation(records, "config.evaluation.test")
  row = rows.transform(rows.source[2])["inputs"]
  assert abs(row.mean()) < 0.2 and abs(row.std() - 1) < 0.1


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    ({"std": (0.0,)}, "config.data: std must be above 0, got 0"),
    ({"mean": (1.0, 2.0)}, "config.data.mean: .*tuple of 1"),
    ({"min_seconds": -1.0}, "config.data: recordings: min_seconds must be 0"),
    ({"augment": {"flip": 0.5}}, "augment: spectrograms are not augmented"),
    ({"labels": {"name": "characters"}}, "unknown 'characters'; choose one of"),
    (
      {"mask": {"name": "inverse_blocks", "ratio": 0.9}},
      "config.data.mask: InverseBlockMask: .*of 6 patches",
    ),
  ],
)
def test_what_is_refused(fields, message):
  with pytest.raises(ConfigError, match=message):
    data(**fields).check()
