import dataclasses
import json

import pytest

from d2v_jax import config_file, main, probe
from d2v_jax.interchange import run as stored
from tests import docs_test, runs

PROBE = str(runs.ROOT / "configs/probe_digits.py")


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("pretrained") / "run"
  arguments = [f"--config={runs.TINY}", f"--workdir={workdir}"]
  assert main.main([*arguments, "--config.evaluation.every=0"]) == 0
  return workdir


def small(pretrained, **overrides):
  config = config_file.load(PROBE)
  quick = {
    "init_from": pretrained,
    "num_devices": 1,
    "evaluation.evaluators.linear_probe": "{'steps': 50, 'seeds': 2}",
    "evaluation.evaluators.student_probe.steps": 50,
    "evaluation.evaluators.student_probe.seeds": 1,
    "evaluation.evaluators.layer_curve.probe.steps": 50,
    "evaluation.evaluators.low_shot": None,
  }
  for path, value in {**quick, **overrides}.items():
    config_file.override(config, path, str(value))
  return config


def test_by_one_command(pretrained, tmp_path, capsys):
  command = [f"--config={PROBE}", f"--config.init_from={pretrained}"]
  command += [f"--workdir={tmp_path / 'probe'}", "--config.num_devices=1"]
  command += ["--config.evaluation.evaluators={'knn': {}}"]
  assert main.main(command) == 0
  printed = json.loads(capsys.readouterr().out.splitlines()[-1])
  assert printed["step"] == 12
  # The run measured the same network on the same data when it ended.
  (line,) = [x for x in runs.metrics(pretrained) if x["step"] == 12]
  assert printed["knn/accuracy"] == pytest.approx(
    line["knn/accuracy"], abs=2e-3
  )
  record = json.loads((tmp_path / "probe" / "evaluation.json").read_text())
  assert record == printed
  run = json.loads((tmp_path / "probe" / "run.json").read_text())
  theirs = json.loads((pretrained / "run.json").read_text())
  assert run["config"]["encoder"] == theirs["config"]["encoder"]


@pytest.mark.slow
def test_from_python(pretrained, capsys):
  blocks = docs_test.blocks("docs/README.md")
  (block,) = [x for x in blocks if "LinearProbe(" in x]
  assert len(block.splitlines()) < 11  # ten lines, one of them empty
  exec(compile(block.replace("runs/digits", str(pretrained)), "README", "exec"))
  assert "'accuracy': " in capsys.readouterr().out


def test_student_teacher_layers_and_seeds(pretrained, tmp_path):
  step, results = probe.run(small(pretrained), tmp_path)
  assert step == 12
  assert {
    *("linear_probe/accuracy", "linear_probe/accuracy_low"),
    *("student_probe/accuracy", "knn/accuracy"),
    *("layer_curve/layer_00", "layer_curve/layer_01", "layer_curve/final"),
  } <= results.keys()
  assert results["linear_probe/accuracy"] != results["student_probe/accuracy"]


@pytest.mark.slow
def test_layer_and_pooling_are_chosen_together(pretrained, tmp_path):
  joint = {
    "steps": 50,
    "learning_rates": (0.3,),
    "weight_decays": (1e-3,),
    "features": {"layers": "all", "pool": ["mean", "cells:2", "tokens"]},
  }
  evaluators = {
    "linear_probe": joint,
    "knn": {"features": {"pool": "cells:2"}},
    "effective_rank": {"features": {"pool": "mean_std"}},
  }
  config = config_file.load(PROBE)
  config.init_from, config.num_devices = str(pretrained), 1
  config.evaluation.evaluators = evaluators
  _, results = probe.run(config, tmp_path)
  names = {f"linear_probe/validation_accuracy_{p}" for p in ("mean", "tokens")}
  assert names <= results.keys()
  # In place, digits are told apart better than anywhere.
  assert results["linear_probe/best_pool"] > 0
  assert results["linear_probe/best_layer"] in (0, 1, 2)
  assert results["linear_probe/accuracy"] > 0.5
  assert {"knn/accuracy", "effective_rank/test"} <= results.keys()


def test_of_a_run_without_a_teacher_it_is_the_student(
  pretrained, tmp_path, capsys
):
  whole = stored.read(pretrained)
  alone = dataclasses.replace(whole, teacher_params={}, objective={})
  imported = stored.write(tmp_path / "alone", alone, {})
  results = {}
  for run, model in ((imported, "teacher"), (pretrained, "student")):
    knn = {"knn": {"features": {"model": model}}}
    config = small(run, **{"evaluation.evaluators": knn})
    (tmp_path / model).mkdir()
    _, results[model] = probe.run(config, tmp_path / model)
    told = capsys.readouterr().err
    assert ("has no teacher; its student is probed" in told) == (
      run == imported
    )
  assert results["teacher"] == results["student"]


def test_only_the_networks_that_are_asked_for(pretrained):
  asked = small(pretrained, **{"evaluation.evaluators.student_probe": None})
  assert probe.from_config(asked).models.keys() == {"teacher"}
  both = probe.from_config(small(pretrained)).models
  assert both.keys() == {"teacher", "student"}


@pytest.mark.parametrize(
  ("overrides", "message"),
  [
    (
      {"init_from": "''"},
      "config.init_from: give the workdir of the run to prob",
    ),
    (
      {"init_from": "none"},
      "init_from must be the workdir of a run, got 'none",
    ),
    (
      {"evaluation.evaluators": None},
      "a probe measures frozen features; got n",
    ),
    (
      {"evaluation.evaluators": "{'classification': {}}"},
      r"measures frozen features; got \['classification'\]; choose for inst",
    ),
    (
      {"evaluation.evaluators": "{'knn': {'features': {'pool': 'cells:5'}}}"},
      r"evaluation.evaluators.knn: Features: pool 'cells:5' asks for 5 x 5 cel",
    ),
    (
      {"evaluation.evaluators": "{'knn': {'features': {'pool': 'max'}}}"},
      r"evaluators.knn.features: Features: unknown pool 'max'; choose one of",
    ),
    ({"total_steps": 3}, "config.total_steps: unknown field"),
    ({"encoder.width": 32}, "parameters do not fit the arguments of the enc"),
    ({"step": 5}, "no checkpoint of step 5 in .*are: 8, 12"),
  ],
)
def test_errors(pretrained, tmp_path, overrides, message):
  with pytest.raises(ValueError, match=message):
    probe.run(small(pretrained, **overrides), tmp_path)
