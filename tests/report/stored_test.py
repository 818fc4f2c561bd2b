"""What is read of a workdir is what the run wrote."""

import json
import math
import os

import pytest

from d2v_jax.report import stored
from tests.report import workdirs


def test_a_run(tmp_path):
  run = stored.read(workdirs.write(tmp_path / "one"))
  assert run.label == "one"
  assert run.points("loss") == [(50, 2.0), (100, 1.5)]
  assert run.last("knn/accuracy") == 0.75
  assert math.isnan(run.last("nothing"))
  assert run.references == {
    "knn": {"untrained": {"accuracy": 0.25}, "pixels": {"accuracy": 0.8}}
  }


def test_a_later_evaluation_counts(tmp_path):
  folder = workdirs.write(tmp_path / "one")
  text = json.dumps({"step": 100, "knn/accuracy": 0.5, "wer/rate": 0.1})
  (folder / "evaluation.json").write_text(text)
  run = stored.read(folder)
  assert run.last("knn/accuracy") == 0.5
  # Of the step that was logged already, and of one that was not.
  assert run.points("knn/accuracy") == [(0, 0.25), (100, 0.75)]
  assert run.points("wer/rate") == [(100, 0.1)]
  assert "wer/rate" in run.names


def test_damaged_files_are_left_out(tmp_path):
  folder = workdirs.write(tmp_path / "one")
  for name in ("references.json", "evaluation.json"):
    (folder / name).write_text("{")
  with open(folder / "metrics.jsonl", "a") as f:
    f.write("no json\n[1]\n")
  run = stored.read(folder)
  assert len(run.lines) == 3
  assert run.references == {} and run.evaluation == {}


def test_no_run(tmp_path):
  with pytest.raises(ValueError, match=r"has no run\.json"):
    stored.read(tmp_path)


def test_labels():
  assert stored.labels(["runs/a", "runs/b/"]) == ["a", "b"]
  assert stored.labels(["x/run", "y/run"]) == ["x/run", "y/run"]
  assert stored.labels(["a", "a"]) == ["a (1)", "a (2)"]
  assert stored.labels(["."]) == [os.path.basename(os.getcwd())]
  assert stored.labels(["gs://x/runs/a"]) == ["a"]
