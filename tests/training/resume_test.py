"""A run that is stopped, by whatever, ends as if it had not been."""

import json
import os
import shutil
import signal

import pytest

from d2v_jax import main
from d2v_jax.data import pipeline
from d2v_jax.training import compiled_run, sharding
from d2v_jax.training.trouble import stop_signals
from tests import runs

ONE_DEVICE = "--config.num_devices=1"

# Orbax drops tasks when it meets a damaged array; see checkpoint_test.
pytestmark = [
  pytest.mark.filterwarnings(
    "ignore:(?s)Exception ignored in.*Event loop is closed"
  ),
]


@pytest.fixture
def run(monkeypatch, capsys):
  """Runs the command line in this process; returns status, stdout, stderr."""
  take = pipeline.TrainBatches.__next__

  def run(workdir, *arguments, config=runs.TINY, signum=None, batch=None):
    taken = 0

    def next_batch(self):
      nonlocal taken
      taken += 1
      if taken == batch:
        os.kill(os.getpid(), signum)
      return take(self)

    monkeypatch.setattr(pipeline.TrainBatches, "__next__", next_batch)
    status = main.main(
      [f"--config={config}", f"--workdir={workdir}", *arguments]
    )
    return status, *capsys.readouterr()

  return run


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
  """The workdir of a run in this process that nothing has stopped."""
  workdir = tmp_path_factory.mktemp("uninterrupted") / "run"
  arguments = [f"--config={runs.TINY}", f"--workdir={workdir}"]
  assert main.main([*arguments, *runs.RANDOM, ONE_DEVICE]) == 0
  assert [x["step"] for x in runs.metrics(workdir)] == list(range(13))
  return workdir


@pytest.fixture(scope="module")
def stopped(tmp_path_factory, uninterrupted):
  """A run that stopped at step 10, with the checkpoints 4, 8 and 10."""
  workdir = tmp_path_factory.mktemp("stopped") / "run"
  with pytest.MonkeyPatch.context() as patch:
    take, taken = pipeline.TrainBatches.__next__, []

    def next_batch(self):
      taken.append(1)
      if len(taken) == 10:
        os.kill(os.getpid(), signal.SIGTERM)
      return take(self)

    patch.setattr(pipeline.TrainBatches, "__next__", next_batch)
    arguments = [f"--config={runs.TINY}", f"--workdir={workdir}"]
    assert main.main([*arguments, *runs.RANDOM, ONE_DEVICE]) == 143
  return workdir


def copied(workdir, tmp_path):
  return shutil.copytree(workdir, tmp_path / "run")


def assert_same_run(workdir, other):
  assert runs.metrics(workdir) == runs.metrics(other)
  runs.assert_same_state(workdir, other)


def starts(workdir):
  """Steps from which the run was started or continued."""
  record = json.loads((workdir / "run.json").read_text())
  return [start["step"] for start in record["starts"]]


# Signals.


@pytest.mark.slow
def test_sigterm_and_sigint_save_and_tell_how_to_go_on(
  run, tmp_path, uninterrupted
):
  workdir = tmp_path / "run"
  status, out, err = run(
    workdir, *runs.RANDOM, ONE_DEVICE, signum=signal.SIGTERM, batch=3
  )
  assert status == 143
  assert err.startswith("SIGTERM: stopped after step 3")
  assert err.endswith("run the same command to go on.\n")
  assert list(runs.losses(workdir)) == [1, 2, 3]

  status, out, err = run(
    workdir, *runs.RANDOM, ONE_DEVICE, signum=signal.SIGINT, batch=4
  )
  assert status == 130
  assert f"continuing {workdir} from step 3\n" in out
  assert err.startswith("SIGINT: stopped after step 7")

  status, out, _ = run(workdir, *runs.RANDOM, ONE_DEVICE)
  assert status == 0
  assert f"continuing {workdir} from step 7\n" in out
  assert starts(workdir) == [0, 3, 7]
  assert_same_run(workdir, uninterrupted)


@pytest.mark.slow
def test_a_signal_at_the_last_step_changes_nothing(run, tmp_path, stopped):
  workdir = copied(stopped, tmp_path)
  unmeasured = "--config.evaluation.evaluators=None"
  status, _, err = run(
    workdir,
    *runs.RANDOM,
    ONE_DEVICE,
    unmeasured,
    signum=signal.SIGTERM,
    batch=2,
  )
  assert (status, err) == (0, "")
  assert runs.state(workdir)[0] == 12


@pytest.mark.slow
def test_an_evaluation_that_is_cut_off_is_made_up_for(
  run, tmp_path, uninterrupted, stopped, monkeypatch
):
  workdir = copied(stopped, tmp_path)
  batches, measured = compiled_run.CompiledRun._batches, []

  def interrupted(self, split):
    for batch in batches(self, split):
      measured.append(split)
      if len(measured) == 2:
        os.kill(os.getpid(), signal.SIGTERM)
      yield batch

  with monkeypatch.context() as patch:
    patch.setattr(compiled_run.CompiledRun, "_batches", interrupted)
    status, _, err = run(workdir, *runs.RANDOM, ONE_DEVICE)
  assert status == 143
  assert err.startswith("SIGTERM: stopped after step 12, and saved it")
  assert len(measured) == 2  # of the three that there are
  assert runs.metrics(workdir)[-1].keys() == {
    name for name in runs.metrics(uninterrupted)[11] if "/" not in name
  }

  status, out, err = run(workdir, *runs.RANDOM, ONE_DEVICE)
  assert (status, err) == (0, "")
  assert f"continuing {workdir} from step 12\n" in out
  assert_same_run(workdir, uninterrupted)
  status, out, _ = run(workdir, *runs.RANDOM, ONE_DEVICE)
  assert (status, out) == (0, f"{workdir} is finished: step 12 of 12\n")


def test_a_signal_in_the_first_evaluation_ends_the_run(
  run, tmp_path, monkeypatch
):
  measure = compiled_run.CompiledRun._batches

  def interrupted(self, split):
    os.kill(os.getpid(), signal.SIGTERM)
    yield from measure(self, split)

  monkeypatch.setattr(compiled_run.CompiledRun, "_batches", interrupted)
  status, _, err = run(tmp_path / "run", ONE_DEVICE)
  assert status == 143
  assert err == (
    "SIGTERM: stopped after step 0, before there was anything new to save; run "
    "the same command to go on.\n"
  )
  assert list((tmp_path / "run" / "checkpoints").iterdir()) == []


def test_signals_are_handled_as_before_after_a_run():
  both = (signal.SIGTERM, signal.SIGINT)
  before = [signal.getsignal(s) for s in both]
  with stop_signals.stop_signals():
    assert all(signal.getsignal(s) not in before for s in both)
  assert [signal.getsignal(s) for s in both] == before


# Another config.


def test_another_config_is_refused_with_what_differs(run, tmp_path, stopped):
  workdir = copied(stopped, tmp_path)
  before = runs.metrics(workdir)
  status, _, err = run(
    workdir,
    *runs.RANDOM,
    ONE_DEVICE,
    "--config.seed=1",
    "--config.schedule.peak=0.5",
    "--config.optimizer.b1=0.8",
    "--config.log_every=5",
  )
  assert status == 2
  assert "the workdir holds a run of another config" in err
  differences = [x.strip() for x in err.splitlines() if " -> " in x]
  assert differences == [
    "optimizer.b1: '(absent)' -> 0.8",
    "schedule.peak: 0.004 -> 0.5",
    "seed: 0 -> 1",
  ]
  assert runs.metrics(workdir) == before
  assert runs.state(workdir)[0] == 10


@pytest.mark.slow
def test_what_the_numbers_do_not_depend_on_may_change(
  run, tmp_path, uninterrupted, stopped
):
  workdir = copied(stopped, tmp_path)
  status, _, _ = run(
    workdir,
    *runs.RANDOM,
    ONE_DEVICE,
    "--config.sharding=fsdp",
    "--config.log_every=12",
    "--config.checkpoint_every=1",
    "--config.health.patience=7",
    "--config.profile=dict(start=11, steps=1)",
    "--config.evaluation.every=0",
    "--config.data.num_threads=1",
  )
  assert status == 0
  assert list(runs.losses(workdir)) == [*range(1, 11), 12]
  runs.assert_same_state(workdir, uninterrupted)


# A finished run.


def test_a_finished_run_says_so(run, tmp_path, uninterrupted):
  workdir = copied(uninterrupted, tmp_path)
  status, out, err = run(workdir, *runs.RANDOM, ONE_DEVICE)
  assert (status, err) == (0, "")
  assert out == f"{workdir} is finished: step 12 of 12\n"
  for name in ("metrics.jsonl", "run.json"):
    assert (workdir / name).read_bytes() == (uninterrupted / name).read_bytes()
  runs.assert_same_state(workdir, uninterrupted)


def test_evaluate_a_finished_run(run, tmp_path, uninterrupted):
  workdir = copied(uninterrupted, tmp_path)
  status = main.main(["--mode=evaluate", f"--workdir={workdir}"])
  assert status == 0
  last = runs.metrics(workdir)[-1]
  results = json.loads((workdir / "evaluation.json").read_text())
  assert results["step"] == 12
  assert {k: last[k] for k in results} == results


# Another number of devices.


@pytest.mark.slow
def test_other_devices_go_on_from_the_same_state(run, tmp_path, monkeypatch):
  wide = ("--config.encoder.width=64", "--config.evaluation.evaluators=None")
  whole, workdir = tmp_path / "whole", tmp_path / "run"
  assert run(whole, *wide, ONE_DEVICE)[0] == 0

  moments = {"signum": signal.SIGTERM, "batch": 4}
  assert run(workdir, *wide, ONE_DEVICE, **moments)[0] == 143
  assert run(workdir, *wide, "--config.num_devices=8", **moments)[0] == 143
  split = []
  rule = sharding.state_sharding

  def spy(*args):
    result = rule(*args)
    split.extend(s.spec for s in _leaves(result) if any(s.spec))
    return result

  monkeypatch.setattr(sharding, "state_sharding", spy)
  status, out, _ = run(
    workdir, *wide, "--config.num_devices=8", "--config.sharding=fsdp"
  )
  assert status == 0
  assert f"continuing {workdir} from step 8\n" in out
  assert split  # or the test would show nothing
  expected, found = runs.losses(whole), runs.losses(workdir)
  assert found == pytest.approx(expected, rel=1e-6)


def _leaves(tree):
  import jax

  return jax.tree.leaves(tree)
