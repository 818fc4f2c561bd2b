"""Each end of a run has one sentence, and a status that a scheduler knows."""

import errno
import os
import signal

import jax
import pytest
from etils import epath

from d2v_jax import exit_status, failures, main
from d2v_jax.data import pipeline
from d2v_jax.training.checkpoints import checkpoint
from d2v_jax.training.logs import metrics
from tests import runs

ALONE = ("--config.num_devices=1", "--config.evaluation.evaluators=None")


@pytest.fixture
def run(tmp_path, capsys):
  """Runs the tiny config; returns its status and what it said on stderr."""

  def run(*arguments):
    own = [f"--config={runs.TINY}", f"--workdir={tmp_path}", *ALONE]
    status = main.main([*own, *arguments])
    return status, capsys.readouterr().err

  return run


def at_batch(monkeypatch, count, happens):
  """Lets something happen when a run takes its count-th batch."""
  take, taken = pipeline.TrainBatches.__next__, []

  def next_batch(self):
    taken.append(1)
    if len(taken) == count:
      happens()
    return take(self)

  monkeypatch.setattr(pipeline.TrainBatches, "__next__", next_batch)


def full(*_, **__):
  raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/data/run")


def test_a_disk_that_is_full_for_metrics(run, tmp_path, monkeypatch):
  # From the sixth line on.
  write, lines = metrics.Writer.write, []

  def next_line(self, step, values):
    lines.append(step)
    return full() if step == 6 else write(self, step, values)

  monkeypatch.setattr(metrics.Writer, "write", next_line)
  status, err = run()
  assert status == 75
  assert err == (
    "stopped: OSError: [Errno 28] No space left on device: '/data/run'. The "
    f"newest checkpoint in {tmp_path}/checkpoints is that of step 4; when that "
    "is repaired, run the same command to go on.\n"
  )
  monkeypatch.setattr(metrics.Writer, "write", write)
  assert run() == (0, "")
  assert list(runs.losses(tmp_path)) == list(range(1, 13))


def test_a_save_that_fails_is_noticed_at_the_next_step(
  run, tmp_path, monkeypatch
):
  """What Orbax writes in the background fails at step 8, as on a full disk."""
  finalize = checkpoint._Manager._finalize

  def fail(self, step, *rest):
    if step == 8:
      self._save_progress_tracker.set(False)
      full()
    finalize(self, step, *rest)

  monkeypatch.setattr(checkpoint._Manager, "_finalize", fail)
  saved = []
  save = checkpoint.Checkpoints.save

  def save_and_wait(self, step, *rest):
    save(self, step, *rest)
    while self._manager.is_saving_in_progress():
      pass
    saved.append(step)

  monkeypatch.setattr(checkpoint.Checkpoints, "save", save_and_wait)
  status, err = run()
  assert status == 75
  assert err.startswith(
    "stopped: the checkpoint of step 8 could not be saved: OSError: [Errno 28]"
    " No space left on device: '/data/run'. The newest checkpoint in "
  )
  assert len(err.splitlines()) == 1
  assert saved == [4, 8]
  assert max(runs.losses(tmp_path)) == 8


def test_a_full_disk_at_the_start(run, monkeypatch):
  monkeypatch.setattr(type(epath.Path("/")), "mkdir", full)
  status, err = run()
  assert (status, err.count("\n")) == (75, 1)
  assert err.startswith("stopped: OSError: [Errno 28]")


def test_a_folder_in_the_place_of_a_file_is_set_aside(run, tmp_path):
  (tmp_path / "metrics.jsonl.tmp").mkdir()
  assert run("--config.total_steps=2", "--config.schedule.warmup_steps=1") == (
    0,
    "",
  )
  assert (tmp_path / "metrics.jsonl.tmp.damaged").is_dir()


def test_a_path_that_is_wrong_is_no_outage(run, monkeypatch):
  def folder(*_):
    raise IsADirectoryError(errno.EISDIR, "Is a directory", "/data/x")

  monkeypatch.setattr(metrics.Writer, "write", folder)
  status, err = run()
  assert status == 2
  assert err.startswith("error: IsADirectoryError: [Errno 21] Is a directory")


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_does_not_wait(run, monkeypatch, signum):
  def twice():
    os.kill(os.getpid(), signum)
    os.kill(os.getpid(), signum)

  at_batch(monkeypatch, 6, twice)
  status, err = run()
  assert status == 128 + signum
  assert err.startswith(
    f"{signum.name}: stopped at once. The newest checkpoint"
  )
  assert "that of step 4; run the same command to go on." in err


def test_a_process_of_the_run_that_is_gone(run, monkeypatch):
  def gone():
    raise jax.errors.JaxRuntimeError(
      "FAILED_PRECONDITION: Gloo all-reduce failed: Connection closed by peer"
      " [127.0.0.1]:4\nmore\n"
    )

  at_batch(monkeypatch, 2, gone)
  status, err = run()
  assert status == 75
  assert err.startswith(
    "stopped: another process of the run, or the connection"
  )
  assert len(err.splitlines()) == 1


def test_an_error_of_this_software_is_not_hidden(run, monkeypatch):
  def bug():
    raise ZeroDivisionError("1/0")

  at_batch(monkeypatch, 2, bug)
  with pytest.raises(ZeroDivisionError):
    run()


def test_where_it_came_from_is_told_when_asked_for(run, monkeypatch):
  monkeypatch.setenv("D2V_TRACEBACK", "1")
  at_batch(monkeypatch, 2, full)
  status, err = run()
  assert status == 75
  assert err.startswith("Traceback (most recent call last):")
  assert err.splitlines()[-1].startswith("stopped: OSError: [Errno 28]")


def test_what_cannot_be_seen_is_said(tmp_path, monkeypatch, capsys):
  def stale(*_):
    raise OSError(errno.ESTALE, "Stale file handle")

  monkeypatch.setattr(failures.checkpoint_files, "steps_on_disk", stale)
  error = OSError(errno.EIO, "Input/output error")
  assert failures.report(error, str(tmp_path)) == exit_status.INFRASTRUCTURE
  err = capsys.readouterr().err
  assert "cannot be seen now ([Errno" in err
