"""A process that reads data is killed, as by the system for its memory."""

import signal

import pytest


@pytest.mark.slow
def test_it_is_replaced_and_the_batches_stay_the_same(
  draw, disturbed, assert_as_undisturbed, tmp_path
):
  kind, workdir = "images", tmp_path / "run"
  status, _, err = disturbed(
    kind,
    workdir,
    "--config.data.num_workers=1",
    moment="worker",
    # A few batches are read ahead, and may be enough.
    count=draw.randint(2, 5),
    signum=signal.SIGKILL,
  )
  assert status == 0, err
  assert "others take its place" in err
  assert_as_undisturbed(kind, workdir)


@pytest.mark.slow
def test_the_second_time_is_the_end(draw, disturbed, tmp_path):
  workdir = tmp_path / "run"
  # What was read before it is killed still comes: long enough to be killed.
  more = ("--config.total_steps=200", "--config.log_every=50")
  status, _, err = disturbed(
    "images",
    workdir,
    "--config.data.num_workers=1",
    *more,
    moment="workers",
    count=draw.randint(1, 4),
    signum=signal.SIGKILL,
  )
  assert status == 75, err
  said = "stopped: a process that reads data was killed at"
  (line,) = [x for x in err.splitlines() if x.startswith(said)]
  assert "The examples of that batch are digits/train[" in line
  assert line.endswith("run the same command to go on.")
