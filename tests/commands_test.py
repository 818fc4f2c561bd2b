"""The command `d2v` as its user sees it."""

import json
import subprocess
import sys

import pytest

from d2v_jax import commands, exit_status
from tests import runs


@pytest.fixture
def done(capsys):
  """Runs it; returns what it prints, which must be the last line of it."""

  def done(*arguments):
    assert commands.main(list(map(str, arguments))) == 0
    return capsys.readouterr().out.splitlines()[-1]

  return done


@pytest.fixture
def refused(capsys):
  def refused(*arguments):
    assert commands.main(list(map(str, arguments))) == 2
    out, err = capsys.readouterr()
    assert out == ""
    return err

  return refused


def without_jax(folder, *arguments):
  """What `python -m d2v_jax` prints where nothing may import JAX."""
  (folder / "jax.py").write_text("raise ImportError('jax was imported')")
  finished = subprocess.run(
    [sys.executable, "-m", "d2v_jax", *arguments],
    cwd=runs.ROOT,
    env=runs.environment() | {"PYTHONPATH": str(folder)},
    capture_output=True,
    text=True,
    timeout=runs.TIMEOUT,
  )
  assert (finished.returncode, finished.stderr) == (0, "")
  return finished.stdout


def test_one_page_lists_all_commands(tmp_path, capsys):
  page = without_jax(tmp_path)
  assert len(page.splitlines()) < 40
  for name, (_, what) in commands.COMMANDS.items():
    (line,) = (x for x in page.splitlines() if x.startswith(f"  {name} "))
    assert line.endswith(what)
  for flag in ("-h", "--help"):
    assert commands.main([flag]) == 0
    assert capsys.readouterr().out == page


@pytest.mark.parametrize("name", commands.COMMANDS)
def test_the_help_of_each_needs_no_jax(name, tmp_path):
  page = without_jax(tmp_path, name, "--help")
  assert page.startswith(f"usage: d2v {name} ")
  assert f"  d2v {name} " in page


def test_the_help_of_train_lists_the_configs(tmp_path):
  page = without_jax(tmp_path, "train", "--help")
  for config in runs.ROOT.glob("configs/*.py"):
    assert f"{config.stem}," in page or f"{config.stem}." in page
  assert exit_status.text() in page


def test_an_unknown_command(refused):
  assert refused("trian") == (
    "d2v: unknown command 'trian' (did you mean 'train'?); choose one of: "
    "train, evaluate, probe, check, replay, plan, report, features, convert, "
    "manifest, tokenizer, pack.\n"
  )


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    (["train"], "d2v train: error: the following arguments are required: "),
    (["evaluate", "x.py"], "the following arguments are required: --workdir"),
    (["probe", "x", "--workdir=y"], "are required: --run"),
    (["train", "x", "--workdir=y", "--config.seed"], "--config.seed needs a v"),
    (["train", "x", "y", "--workdir=z"], "unrecognized arguments: y"),
    (["tokenizer", "train"], "are required: FILE"),
  ],
)
def test_what_is_no_command_line(arguments, message, capsys):
  with pytest.raises(SystemExit) as e:
    commands.main(arguments)
  assert e.value.code == 2
  assert message in capsys.readouterr().err


def test_ctrl_c_before_anything_is_done(monkeypatch, capsys):
  def stopped(module):
    raise KeyboardInterrupt

  monkeypatch.setattr(commands.importlib, "import_module", stopped)
  assert commands.main(["train", "digits"]) == 130
  assert capsys.readouterr() == ("", "SIGINT: d2v train was stopped.\n")
  monkeypatch.setenv("D2V_TRACEBACK", "1")
  with pytest.raises(KeyboardInterrupt):
    commands.main(["train", "digits"])


@pytest.mark.slow
def test_train_evaluate_and_probe(tmp_path, monkeypatch, done, refused):
  monkeypatch.chdir(tmp_path)
  config, small = runs.ROOT / runs.TINY, "--config.num_devices=1"
  made = done("train", config, "--workdir=run", small, "--config.seed", "3")
  assert made == (
    "  d2v features --run=run --input=FILES --output=features.npz"
  )
  assert (
    json.loads((tmp_path / "run/run.json").read_text())["config"]["seed"] == 3
  )
  (line,) = (x for x in runs.metrics(tmp_path / "run") if x["step"] == 12)

  own = json.loads(done("evaluate", "--workdir=run"))
  given = json.loads(done("evaluate", "--workdir=run", config, small))
  for measured in (own, given):
    assert measured["step"] == 12
    assert measured["knn/accuracy"] == line["knn/accuracy"]

  command = ["probe", "probe_digits", "--run=run", "--workdir=knn", small]
  command += ["--config.evaluation.evaluators={'knn': {}}"]
  probed = json.loads(done(*command))
  assert probed["knn/accuracy"] == pytest.approx(line["knn/accuracy"], abs=2e-3)
  assert json.loads((tmp_path / "knn/evaluation.json").read_text()) == probed

  message = refused("probe", "digits", "--run=run", "--workdir=x")
  assert message.startswith("error: digits trains a network, and is no config")
  assert not (tmp_path / "x").exists()
