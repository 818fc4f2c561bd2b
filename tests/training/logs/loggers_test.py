"""Loggers get what metrics.jsonl gets, and fail without a run's failing."""

import json
import os
import sys

import pytest
from etils import epath

from d2v_jax import config_file, main
from d2v_jax.config import ConfigError
from d2v_jax.training import build
from d2v_jax.training.logs import loggers
from tests import runs

# Both are called alike; each call becomes a line of $CALLS.
STAND_IN = """
import json, os

def note(*what):
  with open(os.environ["CALLS"], "a") as f:
    f.write(json.dumps(what) + "\\n")
  if os.environ.get("FAILS") == what[0]:
    raise RuntimeError(f"no network for {what[0]}")

class Run:
  def define_metric(self, name, step_metric=None):
    note("define_metric", name, step_metric)

  def log(self, values, step=None):
    note("log", values, step)

  def finish(self):
    note("finish")

def init(**arguments):
  note("init", arguments)
  return Run()
"""


@pytest.fixture(params=["wandb", "trackio"])
def name(request, tmp_path, monkeypatch):
  """The name of a library that is there, and notes what is asked of it."""
  folder = tmp_path / "libraries"
  folder.mkdir()
  (folder / f"{request.param}.py").write_text(STAND_IN)
  monkeypatch.syspath_prepend(folder)
  monkeypatch.setenv("CALLS", str(tmp_path / "calls.jsonl"))
  for variable in ("WANDB_PROJECT", "TRACKIO_PROJECT", "FAILS"):
    monkeypatch.delenv(variable, raising=False)
  yield request.param
  sys.modules.pop(request.param, None)


def calls(tmp_path):
  text = (tmp_path / "calls.jsonl").read_text()
  return [json.loads(line) for line in text.splitlines()]


def opened(name, tmp_path, start=0, told=None):
  workdir = epath.Path(tmp_path / "one")
  workdir.mkdir(exist_ok=True)
  tell = (told if told is not None else []).append
  return loggers.opened(name, workdir, start, {"seed": 0, "a": (1, 2)}, tell)


def test_each_step_with_its_number(name, tmp_path):
  told = []
  logger = opened(name, tmp_path, told=told)
  logger.log(3, {"loss": 0.5, "knn/accuracy": 0.25, "bad": float("nan")})
  logger.close()
  (_, given), *others, end = calls(tmp_path)
  assert given["project"] == "d2v_jax" and given["resume"] == "allow"
  assert given["config"] == {"seed": 0, "a": [1, 2]}
  values = {"loss": 0.5, "knn/accuracy": 0.25}
  if name == "wandb":
    assert given["dir"] == str(tmp_path / "one") and given["name"] == "one"
    assert others == [
      ["define_metric", "step", None],
      ["define_metric", "*", "step"],
      ["log", {"step": 3, **values}, None],
    ]
  else:
    assert given["name"].startswith("one-")
    assert others == [["log", values, 3]]
  assert (end, told) == (["finish"], [])


def test_a_run_goes_on_under_its_name(name, tmp_path):
  key = {"wandb": "id", "trackio": "name"}[name]
  for start in (0, 4):
    opened(name, tmp_path, start).close()
  ids = [x[1][key] for x in calls(tmp_path) if x[0] == "init"]
  assert len(ids) == 2 and ids[0] == ids[1]
  kept = tmp_path / "one" / loggers.FILE
  assert json.loads(kept.read_text())[name] == ids[0].removeprefix("one-")
  # Another run has another one, and a damaged file is one of no run.
  kept.write_text("[")
  opened(name, tmp_path).close()
  assert calls(tmp_path)[-2 if name == "trackio" else -4][1][key] != ids[0]


@pytest.mark.parametrize("method", ["init", "log", "finish"])
def test_what_fails_is_given_up(name, method, tmp_path, monkeypatch):
  monkeypatch.setenv("FAILS", method)
  told = []
  logger = opened(name, tmp_path, told=told)
  for step in (1, 2, 3):
    logger.log(step, {"loss": 0.5})
  logger.close()
  assert told == [
    f"warning: {name} failed and gets no more of this run, whose metrics.jsonl "
    f"has all: RuntimeError: no network for {method}"
  ]
  logged = [x for x in calls(tmp_path) if x[0] == "log"]
  assert len(logged) == {"init": 0, "log": 1, "finish": 3}[method]


def test_one_that_is_not_installed_is_an_error_before_anything(
  tmp_path, monkeypatch, capsys
):
  # A folder that such a library has left is none.
  monkeypatch.chdir(tmp_path)
  (tmp_path / "trackio").mkdir()
  monkeypatch.syspath_prepend(tmp_path)
  config = str(runs.ROOT / runs.TINY)
  workdir = tmp_path / "run"
  status = main.main(
    [f"--config={config}", f"--workdir={workdir}", "--config.logger=trackio"]
  )
  assert status == 2
  err = capsys.readouterr().err
  assert "config.logger='trackio' needs the library trackio, which is" in err
  assert "pip install 'd2v_jax[trackio]'" in err
  assert not (workdir / "run.json").exists()


def test_unknown_ones():
  config = config_file.load(runs.TINY)
  config.logger = "wand"
  with pytest.raises(ConfigError, match="logger"):
    build.from_config(config)


def test_a_whole_run(name, tmp_path, capsys):
  command = [
    f"--config={runs.TINY}",
    f"--workdir={tmp_path / 'run'}",
    "--config.num_devices=1",
    "--config.total_steps=4",
    "--config.evaluation.evaluators=None",
    f"--config.logger={name}",
  ]
  assert main.main(command) == 0
  written = runs.metrics(tmp_path / "run")
  logged = [x[1:] for x in calls(tmp_path) if x[0] == "log"]
  assert [x["loss"] for x in written] == [x["loss"] for x, _ in logged]
  steps = [x.get("step", step) for x, step in logged]
  assert steps == [1, 2, 3, 4]
  assert not (tmp_path / "run" / "tensorboard").exists()


def test_tensorboard_has_its_own_folder(tmp_path):
  pytest.importorskip("tensorboardX")
  logger = opened("tensorboard", tmp_path)
  logger.log(1, {"loss": 0.5})
  logger.close()
  assert os.listdir(tmp_path / "one") == ["tensorboard"]
  assert list((tmp_path / "one" / "tensorboard").iterdir())


@pytest.mark.parametrize("name", ["tensorboard", "none"])
def test_tensorboard_is_not_needed(name, tmp_path, monkeypatch):
  monkeypatch.setattr(loggers, "_is_there", lambda name: False)
  loggers.check(name)
  told = []
  logger = opened(name, tmp_path, told=told)
  logger.log(1, {"loss": 0.5})
  logger.close()
  assert os.listdir(tmp_path / "one") == [] and told == []
