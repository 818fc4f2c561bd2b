"""The benchmarks of large inputs, at sizes that take seconds."""

import json
import sys

import pytest

from benchmarks import input_scaling, large_features, large_inputs, packing


def run(monkeypatch, tmp_path, module, *arguments):
  """What the command writes."""
  out = tmp_path / "out.json"
  command = [module.__name__, *arguments, f"--out={out}"]
  monkeypatch.setattr(sys, "argv", command)
  module.main()
  return json.loads(out.read_text())


@pytest.mark.slow
def test_features(monkeypatch, tmp_path):
  sizes = ("--rows=80", "--test=9", "--width=6", "--classes=8", "--steps=2")
  record = run(
    monkeypatch, tmp_path, large_features, *sizes, "--repeats=1", "--devices=1"
  )
  cases = ["20 rows, 8 classes", "40 rows, 8 classes", "80 rows, 8 classes"]
  assert list(record["seconds"]) == [*cases, "80 rows, 2 classes"]
  assert record["seconds"][cases[0]]["kNN"]["wall"]["median"] > 0


@pytest.mark.slow
def test_inputs(monkeypatch, tmp_path):
  record = run(monkeypatch, tmp_path, large_inputs, "--rows=1100", "--settle=0")
  opened = record["opened"]
  assert set(opened) == {*large_inputs.OPENED, "folder, again"}
  assert {each["records"] for each in opened.values()} == {1100}


@pytest.mark.slow
def test_packing(monkeypatch, tmp_path):
  record = run(monkeypatch, tmp_path, packing, "--megabytes=1", "--repeats=1")
  one, two = (each[0]["sha256"] for each in record["rounds"].values())
  assert one == two


@pytest.mark.slow
def test_scaling(monkeypatch, tmp_path):
  sizes = ("--images=4", "--batch=2", "--batches=2", "--warm=1", "--repeats=1")
  record = run(
    monkeypatch,
    tmp_path,
    input_scaling,
    *sizes,
    *("--threads", "1", "--workers", "0", "1"),
  )
  assert list(record["rounds"]) == [
    "0 workers, 1 threads each",
    "1 workers, 1 threads each",
  ]
