import json

import jax
import numpy as np
import pytest

from d2v_jax import config_file
from d2v_jax.objectives import OBJECTIVES
from d2v_jax.training import build
from experiments.ablations import digits, report
from tests.experiments.seeds_test import write


@pytest.fixture(autouse=True)
def tables():
  """What the config adds is taken out again."""
  yield
  OBJECTIVES.pop("masked_teacher", None)


def objective(name):
  config = digits.get_config(name)
  config.num_devices = 1
  return build.from_config(config).objective


@pytest.mark.parametrize("name", ["base", *digits.CHANGES])
def test_changes_build_and_change_what_they_say(name):
  run = objective(name)
  for field, value in digits.CHANGES.get(name, {}).items():
    if field == "ema":
      assert (run.ema.start, run.ema.end) == (value["start"], value["end"])
    elif field == "name":
      assert type(run).__name__ == "MaskedTeacher"
    elif field == "targets":
      for part, changed in value.items():
        assert getattr(run.targets, part) == changed
    else:
      assert getattr(run, field) == value


def test_what_is_said_of_the_base_is_so():
  run = objective("base")
  targets = run.targets
  assert [str(targets.top_k), targets.output, str(run.loss_beta)] == [
    digits.BASE[k] for k in ("top_k", "target", "loss_beta")
  ]
  assert (digits.BASE["layer_norms"],) == targets.layer_norms
  assert f"{run.ema.start} to {run.ema.end}" == digits.BASE["ema"]


def test_an_unknown_change_is_an_error():
  with pytest.raises(ValueError, match="choose base or one of: top_k=1"):
    digits.get_config("top_k=9")


@pytest.mark.parametrize("name", ["base", "teacher_input=masked"])
def test_what_the_teacher_sees(name):
  run = objective(name)
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (2, 8, 8, 1), np.uint8)
  mask = np.zeros((2, 16), bool)
  mask[:, 0] = True  # the patch of the first two rows and columns
  params = jax.jit(run.init)(jax.random.key(0), {"inputs": images})
  teacher = run.init_teacher(params)
  hidden, visible = images.copy(), images.copy()
  hidden[:, :2, :2] = 255 - hidden[:, :2, :2]
  visible[:, 2:4, :2] = 255 - visible[:, 2:4, :2]

  @jax.jit
  def targets(inputs):
    return run.teacher_targets(
      params, teacher, {"inputs": inputs, "mask": mask}
    )

  same = np.array_equal(targets(hidden), targets(images))
  assert same == (name != "base")
  assert not np.array_equal(targets(visible), targets(images))


def test_report(tmp_path, capsys):
  root = tmp_path / "runs"
  write(root, "base", 0, 0.5, 0.25, 8.0)
  for value in (10, 2):
    write(root, f"top_k={value}", 0, 0.6, 0.25, 8.0)
  assert report.main([str(root), str(tmp_path / "out")]) == 0
  lines = capsys.readouterr().out.splitlines()
  assert [line.split(" | ")[1] for line in lines[2:]] == ["2", "3 (base)", "10"]
  result = json.loads((tmp_path / "out" / "result.json").read_text())
  assert set(result) == {"base", "top_k=2", "top_k=10"}
  png = (tmp_path / "out" / "ablations.png").read_bytes()
  assert png.startswith(b"\x89PNG")


def test_report_needs_the_base(tmp_path, capsys):
  write(tmp_path / "runs", "top_k=2", 0, 0.6, 0.25, 8.0)
  argv = [str(tmp_path / "runs"), str(tmp_path / "out")]
  assert report.main(argv) == 2
  assert "no run of the base" in capsys.readouterr().err


def test_configs_are_found_by_their_names():
  config = config_file.load(digits.__file__ + ":top_k=6")
  assert config.objective.targets.top_k == 6
