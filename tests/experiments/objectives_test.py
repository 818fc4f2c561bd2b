"""The configs that are compared cost the same, and the report says so."""

import csv
import json

import cv2
import numpy as np
import pytest

from d2v_jax import config_file
from experiments import compute
from experiments.objectives import images, report, speech, text
from tests.experiments.seeds_test import write

CONFIGS = {"images": images, "speech": speech, "text": text}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
  """Small data sets for training and tests, where none come along."""
  root = tmp_path_factory.mktemp("data")
  rng = np.random.default_rng(0)
  for i in range(64):
    folder = root / "images" / "ab"[i % 2]
    folder.mkdir(parents=True, exist_ok=True)
    image = rng.integers(0, 256, (32, 32, 3), np.uint8)
    cv2.imwrite(str(folder / f"{i}.png"), image)
  verses = root / "verses.tsv"
  with open(verses, "w", newline="") as f:
    table = csv.writer(f, delimiter="\t")
    table.writerow(["text", "label", "split"])
    for i in range(256):
      words = "And God said, Let there be light: and there was light. " * 4
      table.writerow([words, "ab"[i % 2], "test" if i % 4 > 1 else "train"])
  return {"images": root / "images", "text": verses}


def load(name, objective, data):
  config = config_file.load(CONFIGS[name].__file__ + f":{objective}")
  if name in data:
    for field in ("data.source", "evaluation.train", "evaluation.test"):
      config_file.override(config, f"{field}.path", str(data[name]))
  config.num_devices = 1
  return config


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_all_objectives_cost_the_same(data, name):
  costs = {}
  for objective in CONFIGS[name].UPDATES:
    config = load(name, objective, data)
    costs[objective] = compute.per_update(config) * config.total_steps
  assert max(costs.values()) < 1.01 * min(costs.values()), costs


@pytest.mark.parametrize("name", CONFIGS)
def test_an_unknown_objective_is_an_error(name):
  with pytest.raises(ValueError, match="choose one of: data2vec"):
    CONFIGS[name].get_config("simclr")


def test_report(tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(compute, "per_update", lambda config: 5e10)
  write(tmp_path / "runs", "one", 0, 0.5, 0.25, 8.0)
  write(tmp_path / "runs", "one", 1, 0.7, 0.25, 8.0)
  write(tmp_path / "runs", "two", 0, 0.4, 0.2, 8.0)
  out = tmp_path / "out"
  argv = [str(tmp_path / "runs"), str(out), "--baseline", "raw=0.3"]
  assert report.main(argv) == 0
  assert (
    "| one | 20 | 50.00 | 1.00 | 0.100 ± 0.000 | 0.600 ± 0.141 | "
    "0.100 ± 0.000 | 0.250 ± 0.000 |"
  ) in capsys.readouterr().out
  result = json.loads((out / "result.json").read_text())
  assert result["baselines"] == {"raw": 0.3}
  assert result["objectives"]["two"]["flops_per_update"] == 5e10
  assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_errors_of_the_report(tmp_path, capsys):
  assert report.main([str(tmp_path), str(tmp_path / "out")]) == 2
  assert "error: " in capsys.readouterr().err
  assert not (tmp_path / "out").exists()
