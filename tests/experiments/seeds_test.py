import json

import pytest

from experiments import seeds

START = {
  "step": 0,
  "command": ["python"],
  "python": "3.12.1",
  "versions": {"jax": "0.10.2"},
  "commit": "abc",
  "devices": "1 x cpu",
}


def write(root, name, seed, *accuracies, commit="abc", **config):
  """A finished run of 20 updates, evaluated at step 0, and 20."""
  workdir = root / f"{name}-{seed}"
  workdir.mkdir(parents=True)
  config = {"total_steps": 20, "batch_size": 6, "seed": seed, **config}
  run = {"config": config, "starts": [{**START, "commit": commit}]}
  (workdir / "run.json").write_text(json.dumps(run))
  names = ("linear_probe/accuracy", "knn/accuracy", "effective_rank/test")
  lines = [
    {"step": 0, **dict.fromkeys(names, 0.1)},
    {"step": 10, "loss": 1.0},
    {"step": 20, "loss": 0.5, **dict(zip(names, accuracies, strict=True))},
  ]
  text = "".join(json.dumps(line) + "\n" for line in lines)
  (workdir / "metrics.jsonl").write_text(text)


def test_seeds_of_a_name_come_together(tmp_path):
  write(tmp_path, "a-b", 0, 0.5, 0.25, 8.0)
  write(tmp_path, "a-b", 1, 0.75, 0.5, 4.0, commit="def")
  write(tmp_path, "c", 0, 0.5, 0.5, 2.0, width=3)
  (tmp_path / "notes").mkdir()
  found = seeds.collect(tmp_path)
  assert list(found) == ["a-b", "c"]
  record = found["a-b"]
  assert record["config"] == {"total_steps": 20, "batch_size": 6}
  assert (record["seeds"], record["commits"]) == ([0, 1], ["abc", "def"])
  assert record["evaluations"] == [
    {
      "step": 0,
      "linear_probe/accuracy": [0.1, 0.1],
      "knn/accuracy": [0.1, 0.1],
      "effective_rank/test": [0.1, 0.1],
    },
    {
      "step": 20,
      "linear_probe/accuracy": [0.5, 0.75],
      "knn/accuracy": [0.25, 0.5],
      "effective_rank/test": [8.0, 4.0],
    },
  ]


def test_errors(tmp_path):
  with pytest.raises(ValueError, match="no folders called NAME-SEED"):
    seeds.collect(tmp_path / "absent")
  write(tmp_path, "a", 0, 0.5, 0.25, 8.0)
  write(tmp_path, "a", 1, 0.5, 0.25, 8.0, width=4)
  with pytest.raises(ValueError, match="not that of the other seeds"):
    seeds.collect(tmp_path)


def test_a_run_of_another_seed_than_its_name_says_is_an_error(tmp_path):
  write(tmp_path, "a", 0, 0.5, 0.25, 8.0)
  (tmp_path / "a-0").rename(tmp_path / "a-1")
  with pytest.raises(ValueError, match="or its seed is 0"):
    seeds.collect(tmp_path)


def test_summary():
  # 0.4, 0.5, 0.6: squares 0.01 + 0 + 0.01 over n - 1 = 2.
  assert seeds.summary([0.4, 0.5, 0.6]) == "0.500 ± 0.100"
  assert seeds.summary([0.25]) == "0.250"
