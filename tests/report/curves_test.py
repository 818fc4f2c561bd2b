"""What was logged is drawn, each number once, and nothing else."""

import json

import numpy as np

from d2v_jax.report import curves, stored
from d2v_jax.training.logs import metric_names
from tests.report import workdirs
from tests.report.chart_test import points


def figures(section):
  found = {}
  for part in section.content:
    for figure in part.iter("figure"):
      found[figure.find("figcaption").find("b").text] = figure
  return found


def test_curves_are_the_lines_of_metrics(tmp_path):
  run = stored.read(workdirs.write(tmp_path / "one"))
  made = figures(curves.training([run]))
  assert list(made) == ["loss", "learning rate"]
  (found,) = points(made["loss"])
  np.testing.assert_allclose(found, [(50, 2.0), (100, 1.5)], atol=0.01)


def test_evaluations_stand_beside_what_they_are_compared_with(tmp_path):
  run = stored.read(workdirs.write(tmp_path / "one"))
  made = figures(curves.evaluations([run]))
  assert list(made) == ["knn: accuracy"]  # no settings, no single layers
  (found,) = points(made["knn: accuracy"])
  np.testing.assert_allclose(found, [(0, 0.25), (100, 0.75)], atol=0.01)
  text = workdirs.text_of(made["knn: accuracy"])
  assert "untrained 0.25" in text and "pixels 0.8" in text


def test_health_by_layer(tmp_path):
  run = stored.read(workdirs.write(tmp_path / "one"))
  made = figures(curves.health([run]))
  assert list(made) == [
    "standard deviation of targets",
    "position share: block by layer",
  ]
  titles = [
    x.text for x in made["position share: block by layer"].iter("title")
  ]
  assert titles == ["layer 0, step 0: 0.5", "layer 0, step 100: 0.25"]


def test_every_metric_is_somewhere(tmp_path):
  parts = {
    "health/rank/block_00": 2.0,
    "health/verdict/memorising": 50,
    "health/explained/all": 0.5,
  }
  lines = [*workdirs.LINES, {"step": 150, **parts}]
  run = stored.read(workdirs.write(tmp_path / "one", lines))
  for name in run.names:
    places = [
      curves.is_training(name),
      metric_names.is_result(name),
      name in curves.COST,
      name in curves.HEALTH or metric_names.of_part(name) is not None,
      metric_names.of_layer(name) is not None,
      metric_names.is_setting(name),
    ]
    assert sum(places) == 1, name


def test_several_runs_are_overlaid(tmp_path):
  lines = [{"step": 50, "loss": 4.0}, {"step": 100, "loss": 3.0}]
  runs = [
    stored.read(workdirs.write(tmp_path / "one")),
    stored.read(workdirs.write(tmp_path / "two", lines)),
  ]
  first, second = points(figures(curves.training(runs))["loss"])
  np.testing.assert_allclose(first, [(50, 2.0), (100, 1.5)], atol=0.02)
  np.testing.assert_allclose(second, [(50, 4.0), (100, 3.0)], atol=0.02)


def test_a_probe_is_measured_once(tmp_path):
  folder = workdirs.write(tmp_path / "one", lines=[])
  measured = {"step": 7, "layer_curve/layer_00": 0.5, "knn/accuracy": 0.25}
  (folder / "evaluation.json").write_text(json.dumps(measured))
  run = stored.read(folder)
  assert "All was measured once" in workdirs.text_of(
    *curves.evaluations([run]).content
  )
  made = figures(curves.health([run]))["layer curve: layer by layer"]
  titles = [x.text for x in made.iter("title")]
  assert titles == ["layer 0, step 7: 0.5"]


def test_what_is_missing_says_why(tmp_path):
  run = stored.read(workdirs.write(tmp_path / "one", lines=[]))
  assert workdirs.text_of(*curves.training([run]).content) == (
    "metrics.jsonl has nothing of this: nothing was trained here, or it was "
    "not logged yet."
  )
  said = workdirs.text_of(*curves.health([run]).content)
  assert said.startswith("Nothing was measured of single layers: config.health")
