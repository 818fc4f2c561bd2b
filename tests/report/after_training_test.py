"""A run ends with a page and some lines, and nothing of them can fail it."""

import pytest

from d2v_jax import actions, config_file
from d2v_jax.report import after_training, of_runs
from d2v_jax.report.page import Page
from d2v_jax.training import loop
from d2v_jax.training.trouble import health
from tests import runs
from tests.report import workdirs


def test_the_page_and_the_lines(tmp_path, capsys):
  run = workdirs.write(tmp_path / "one")
  after_training.write(run, "curves")
  assert capsys.readouterr().out.splitlines() == [
    f"{run}: 100 steps in 2 min 30 s",
    "  loss: 2 at step 50, 1.5 at step 100",
    "  knn: accuracy: 0.25 at step 0, 0.75 at step 100 (untrained 0.25, pixels "
    "0.8)",
    f"  curves: {run}/report.html",
    "next, pictures, nearest neighbours, and features of your files:",
    f"  d2v report {run}",
    f"  d2v features --run={run} --input=FILES --output=features.npz",
  ]
  page = (run / "report.html").read_text(encoding="utf-8")
  assert "knn: accuracy" in page
  assert page.count(f"`d2v report {run}` makes it.") == 4


@pytest.mark.parametrize(
  ("kind", "asked"), [("none", []), ("curves", [None]), ("whole", [2000])]
)
def test_how_much_is_made(kind, asked, tmp_path, monkeypatch):
  made = []

  def page(workdirs, learned):
    made.append(learned)
    return Page("page", "", [])

  monkeypatch.setattr(of_runs, "page", page)
  run = workdirs.write(tmp_path / "one")
  after_training.write(run, kind)
  assert made == asked
  assert (run / "report.html").exists() == bool(asked)


def test_what_goes_wrong_is_said(tmp_path, monkeypatch, capsys):
  def page(*args):
    raise RuntimeError("no space")

  monkeypatch.setattr(of_runs, "page", page)
  after_training.write(workdirs.write(tmp_path / "one"), "curves")
  out = capsys.readouterr().out
  assert out == "the page about this run could not be made: no space\n"


@pytest.mark.parametrize("error", [None, health.UnhealthyRun("collapsed", 50)])
def test_also_of_a_run_that_is_stopped_as_sick(error, tmp_path, monkeypatch):
  def train(experiment, workdir, start):
    workdirs.write(workdir / "x")
    for file in (workdir / "x").iterdir():
      file.rename(workdir / file.name)
    if error is not None:
      raise error
    return True

  monkeypatch.setattr(loop, "train", train)
  config = config_file.load(str(runs.ROOT / runs.TINY))
  if error is None:
    actions.train(config, tmp_path)
  else:
    with pytest.raises(health.UnhealthyRun):
      actions.train(config, tmp_path)
  assert "knn: accuracy" in (tmp_path / "report.html").read_text("utf-8")


def test_nothing_is_said_where_nothing_was_done(tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(loop, "train", lambda *args: False)
  actions.train(config_file.load(str(runs.ROOT / runs.TINY)), tmp_path)
  assert capsys.readouterr().out == ""
  assert not (tmp_path / "report.html").exists()


def test_nothing_is_written_of_a_run_that_is_cut_off(tmp_path, monkeypatch):
  def train(experiment, workdir, start):
    raise loop.Interrupted(3, 15)

  monkeypatch.setattr(loop, "train", train)
  with pytest.raises(loop.Interrupted):
    actions.train(config_file.load(str(runs.ROOT / runs.TINY)), tmp_path)
  assert not (tmp_path / "report.html").exists()


def test_a_wrong_kind(tmp_path):
  config = config_file.load(str(runs.ROOT / runs.TINY))
  config.report = "all"
  with pytest.raises(ValueError, match=r"config\.report.*none, curves, whole"):
    actions.train(config, tmp_path)
