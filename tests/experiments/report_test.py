import json

import pytest

from experiments import report

RUN = {
  "config": {"total_steps": 20, "batch_size": 6, "seed": 3},
  "starts": [
    {
      "step": 0,
      "command": ["python", "-m", "d2v_jax.main", "--workdir=runs/made_up"],
      "python": "3.11.7",
      "versions": {"jax": "0.10.2"},
      "commit": "abc",
      "devices": "1 x cpu",
    }
  ],
}
LINES = [
  {"step": 0, "knn/accuracy": 0.2},
  {
    "step": 10,
    "loss": 2.0,
    "target_std": 0.9,
    "prediction_std": 0.5,
    "examples_per_sec": 0.5,  # 60 examples in 2 minutes
    "knn/accuracy": 0.7,
  },
  {"step": 20, "loss": 1.0, "examples_per_sec": 1.0, "knn/accuracy": 0.6},
]


def _write(workdir, lines):
  (workdir / "run.json").write_text(json.dumps(RUN))
  text = "".join(json.dumps(line) + "\n" for line in lines)
  (workdir / "metrics.jsonl").write_text(text)


def test_result_holds_the_values_of_the_run(tmp_path):
  _write(tmp_path, LINES)
  outdir = tmp_path / "out"
  flags = ["--baseline", "raw, k=5=0.5"]
  assert report.main([str(tmp_path), str(outdir), *flags]) == 0
  result = json.loads((outdir / "result.json").read_text())
  assert result["config"] == RUN["config"]
  assert result["command"][-1] == "--workdir=runs/made_up"
  assert result["first"] == {"step": 0, "knn/accuracy": 0.2}
  assert result["final"] == {"step": 20, "knn/accuracy": 0.6}
  assert result["best"] == {"knn/accuracy": {"step": 10, "value": 0.7}}
  assert result["baselines"] == {"raw, k=5": 0.5}
  assert result["minutes_of_training"] == 3.0
  for key in ("commit", "devices", "python", "versions"):
    assert result[key] == RUN["starts"][0][key]
  png = (outdir / "curves.png").read_bytes()
  assert png.startswith(b"\x89PNG")


def test_run_without_evaluation(tmp_path):
  _write(tmp_path, [{"step": 20, "loss": 1.0}])
  assert report.main([str(tmp_path), str(tmp_path)]) == 0
  result = json.loads((tmp_path / "result.json").read_text())
  assert (result["first"], result["final"], result["best"]) == ({}, {}, {})


def test_missing_run(tmp_path):
  with pytest.raises(ValueError, match=r"run\.json is missing.*first argument"):
    report.read(tmp_path)


@pytest.mark.parametrize("lines, last", [([], 0), (LINES[:2], 10)])
def test_unfinished_run(tmp_path, lines, last):
  _write(tmp_path, lines)
  message = f"not finished: its last line is of step {last} of 20"
  with pytest.raises(ValueError, match=message):
    report.read(tmp_path)


def test_damaged_run(tmp_path):
  _write(tmp_path, LINES)
  (tmp_path / "metrics.jsonl").write_text('{"step": 0}\n{"st')
  with pytest.raises(ValueError, match="is damaged"):
    report.read(tmp_path)


def test_errors_are_printed(tmp_path, capsys):
  args = [str(tmp_path), str(tmp_path), "--baseline", "raw"]
  assert report.main(args) == 2
  assert "is not NAME=VALUE" in capsys.readouterr().err
