import json

import pytest

from benchmarks import device_summary


def result(devices, **torch):
  """What train_step writes, as far as it is read."""
  work = {"examples": 128, "operations": 20e12}
  rounds = {"min": 0.04, "max": 0.08}
  return {
    "machine": {"devices": devices},
    "work": {"ours": work, "compiled": work},
    "peak_bytes": {"ours": 30 * 10**9, **torch},
    "wall": {
      "ours": {"median": 0.05, "ratio_of_medians": 1.0, **rounds},
      "compiled": {"median": 0.1, "ratio_of_medians": 0.5, **rounds},
    },
  }


@pytest.fixture
def folder(tmp_path):
  def write(devices, parts, **torch):
    (tmp_path / "parts.tsv").write_text(parts)
    path = tmp_path / "train_step_vit_base.json"
    path.write_text(json.dumps(result(devices, **torch)))
    return tmp_path

  return write


def test_on_a_gpu(folder, capsys):
  parts = "tests\t0\t31\ntrain_step_vit_base\t0\t90\n"
  gpu = "1 x NVIDIA H100 80GB HBM3"
  out = folder(gpu, parts, compiled=50 * 10**9)
  assert device_summary.main([str(out)]) == 0
  found = json.loads((out / "device.json").read_text())
  assert found["machine"] == {"devices": gpu}
  assert found["parts"]["train_step_vit_base"] == {"status": 0, "seconds": 90}
  ours, compiled = found["steps"]["vit_base"].values()
  # 20 TFLOP in 50 ms, of 989.4 a second.
  assert ours["operations_per_second"] == pytest.approx(400e12)
  assert ours["peak_fraction"] == pytest.approx(0.4043, abs=1e-4)
  assert ours["examples_per_second"] == pytest.approx(2560)
  assert compiled["peak_fraction"] == pytest.approx(0.2021, abs=1e-4)
  assert compiled["memory_bytes"] == 50 * 10**9
  assert compiled["ours_over_it"] == 0.5
  shown = capsys.readouterr().out.splitlines()
  assert shown[0] == gpu
  assert " ".join(shown[2].split()) == (
    "vit_base, compiled 100.0 ms 1280.0 examples/s 20.2% of peak 50.0 GB "
    "ours / it 0.50"
  )
  assert len(shown) == 3
  assert found["plans"] == {}


def test_the_measured_step_beside_the_planned_one(folder, capsys):
  out = folder("1 x NVIDIA H100 80GB HBM3", "plan_vit_base\t0\t31\n")
  plan = {"step_seconds": 0.04, "memory_bytes": 24 * 10**9}
  text = f"vit_base on h100:1\n{json.dumps(plan)}\n  step: 40 ms\n"
  (out / "plan_vit_base.log").write_text(text)
  assert device_summary.main([str(out)]) == 0
  found = json.loads((out / "device.json").read_text())
  assert found["plans"]["vit_base"] == {
    "planned": plan,
    "measured_over_planned_seconds": pytest.approx(0.05 / 0.04),
    "measured_over_planned_memory": 30 / 24,
  }
  shown = capsys.readouterr().out
  assert "vit_base: measured over planned seconds 1.25\n" in shown


def test_a_step_that_is_not_estimated(folder):
  out = folder("1 x cpu", "")
  plan = {"step_seconds": None, "memory_bytes": 60 * 10**9}
  (out / "plan_vit_base.log").write_text(json.dumps(plan) + "\n")
  assert device_summary.main([str(out)]) == 0
  found = json.loads((out / "device.json").read_text())
  ratios = {"measured_over_planned_memory": 0.5}
  assert found["plans"]["vit_base"] == {"planned": plan, **ratios}


def test_parts_that_failed(folder, capsys):
  out = folder("1 x cpu", "tests\t1\t31\ntrain_step_text_base\t124\t0\n")
  assert device_summary.main([str(out)]) == 1
  found = json.loads((out / "device.json").read_text())
  compiled = found["steps"]["vit_base"]["compiled"]
  assert compiled["peak_fraction"] is compiled["memory_bytes"] is None
  shown = capsys.readouterr().out
  assert "tests failed with status 1: see tests.log\n" in shown
  assert "train_step_text_base failed with status 124: see" in shown
