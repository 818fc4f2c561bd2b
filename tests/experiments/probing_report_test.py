import json

import pytest

from experiments.probing import report

START = {
  "command": ["python"],
  "commit": "abc",
  "python": "3.12.1",
  "versions": {},
  "devices": "1 x cpu",
}
RESULTS = {
  "step": 7,
  "layer_curve/layer_00": 0.5,
  "layer_curve/layer_00_low": 0.4,
  "layer_curve/layer_00_high": 0.6,
  "layer_curve/layer_01": 0.7,
  "layer_curve/final": 0.65,
  "layer_curve/best_layer": 1.0,
  "low_shot/shots_1": 0.2,
  "low_shot/share_0.1": 0.3,
}


def write(workdir, results=RESULTS):
  workdir.mkdir()
  run = {"config": {"init_from": "x"}, "starts": [START]}
  (workdir / "run.json").write_text(json.dumps(run))
  if results is not None:
    (workdir / "evaluation.json").write_text(json.dumps(results))
  return workdir


def test_points_of_a_curve_are_in_order_with_their_intervals():
  assert report.curves(RESULTS, "layer_curve/layer_") == [
    ("00", 0.5, 0.4, 0.6),
    ("01", 0.7, 0.7, 0.7),
  ]
  assert report.curves(RESULTS, "layer_curve/final") == [("", 0.65, 0.65, 0.65)]


def test_writes_what_was_measured_and_a_picture(tmp_path):
  a, b = write(tmp_path / "a"), write(tmp_path / "b")
  assert report.main([str(tmp_path / "out"), f"one={a}", f"two={b}"]) == 0
  record = json.loads((tmp_path / "out" / "result.json").read_text())
  assert list(record) == ["one", "two"]
  assert record["one"]["results"] == RESULTS
  assert record["one"]["commit"] == "abc"
  png = (tmp_path / "out" / "curves.png").read_bytes()
  assert png.startswith(b"\x89PNG")


@pytest.mark.parametrize("unfinished", [False, True])
def test_errors(tmp_path, capsys, unfinished):
  argument = "no_name"
  if unfinished:
    argument = f"x={write(tmp_path / 'a', results=None)}"
  assert report.main([str(tmp_path / "out"), argument]) == 2
  message = "evaluation.json is missing" if unfinished else "is not NAME=WORK"
  assert message in capsys.readouterr().err
  assert not (tmp_path / "out").exists()
