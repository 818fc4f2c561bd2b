import random

import numpy as np

from d2v_jax.data.checking import first_look
from tests.data import dataset_test
from tests.data.checking.things import Things

TRAIN, TEST = "config.data.source", "config.evaluation.test"


def said(sources, modality="vision"):
  dataset, _ = dataset_test.build(modality)
  lines = []
  first_look.look_at(dataset, sources, lines.append)
  return lines


def test_one_line_where_nothing_is_found():
  dataset, _ = dataset_test.build("vision")
  records = dataset.records()
  test = dataset.open({"name": "digits", "split": "test"}, "x")
  random.seed(1), np.random.seed(1)
  before = random.getstate(), np.random.get_state()[1].tolist()
  lines = said({TRAIN: records, "config.evaluation.train": records, TEST: test})
  assert lines == [
    f"looked at 64 of 1,297 records of {TRAIN}, 64 of 500 records of {TEST}: 0 "
    "findings"
  ]
  assert before == (random.getstate(), np.random.get_state()[1].tolist())


class Images(Things):
  def __getitem__(self, index):
    return {"image": np.full((8, 8, 1), self._values[index], np.uint8)}


def test_findings_come_first():
  lines = said({TRAIN: Images([0, 100]), TEST: Images([100, 200, 0])})
  odd = "near-black: 1 of 2 records looked at (thing 0)"
  assert lines[0].startswith(f"{TRAIN}: {odd}")
  assert any(
    x.startswith(f"2 of 3 examples of {TEST} that were") for x in lines
  )
  assert lines[-1].endswith(f": {len(lines) - 1} findings")


def test_it_ends_after_seconds(monkeypatch):
  monkeypatch.setattr(first_look, "_SECONDS", -1.0)
  (line,) = said({TRAIN: Images([0, 100])})
  assert line == f"looked at 0 of 2 records of {TRAIN}: 0 findings"
