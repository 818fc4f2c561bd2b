"""Tables say what the files of a run say."""

import json

import pytest

from d2v_jax.report import stored, summary
from tests.report import workdirs


def rows(section):
  return [
    ["".join(cell.itertext()) for cell in row]
    for part in section.content
    for row in part.iter("tr")
  ]


def test_results(tmp_path):
  run = stored.read(workdirs.write(tmp_path / "one"))
  assert rows(summary.results([run]))[1:] == [
    ["one", "knn: accuracy", "0.25", "0.75", "untrained 0.250, pixels 0.800"]
  ]


def test_no_results(tmp_path):
  run = stored.read(workdirs.write(tmp_path / "one", lines=[]))
  text = workdirs.text_of(*summary.results([run]).content)
  assert text.startswith("No evaluator has measured anything")


def test_cost(tmp_path):
  run = stored.read(workdirs.write(tmp_path / "one"))
  # 50 steps of 8 examples at 4 and 50 at 8 per second
  assert summary.training_seconds(run) == pytest.approx(100 + 50)
  assert rows(summary.cost([run]))[1] == [
    "one",
    "100 of 100",
    "2 min 30 s",
    "8",
    "not known",
    "not known",
    "1 x cpu",
  ]


def test_config_is_all_there(tmp_path):
  config = {**workdirs.CONFIG, "data": {"classes": ["</pre><b>", "ü"]}}
  run = stored.read(workdirs.write(tmp_path / "one", config=config))
  (details,) = summary.configuration([run]).content
  assert json.loads(details.find("pre").text) == config


def test_configs_are_compared(tmp_path):
  other = {**workdirs.CONFIG, "encoder": {"name": "vit", "width": 32}}
  runs = [
    stored.read(workdirs.write(tmp_path / "one")),
    stored.read(workdirs.write(tmp_path / "two", config=other)),
  ]
  assert rows(summary.configuration(runs)) == [
    ["where they differ", "one", "two"],
    ["config.encoder.width", "16", "32"],
    ["config.encoder.depth", "2", "-"],
  ]


def test_provenance(tmp_path):
  run = stored.read(workdirs.write(tmp_path / "one"))
  assert rows(summary.provenance([run]))[1] == [
    "one",
    "0",
    "2026-01-02T03:04:05Z",
    "abc123",
    "1 x cpu",
    "Python 3.12.1, jax 0.12.0",
    "python -m d2v_jax train",
  ]
  imported = stored.read(workdirs.write(tmp_path / "two", starts=()))
  text = workdirs.text_of(*summary.provenance([imported]).content)
  assert text == "run.json names no start: these weights were imported."
