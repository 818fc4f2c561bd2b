"""SIGTERM and SIGINT."""

import signal
import subprocess
import sys
import time

import pytest

from tests import runs
from tests.faults.conftest import ARGUMENTS, DEVICES


@pytest.mark.slow
def test_while_it_starts(draw, train, assert_as_undisturbed, tmp_path):
  """Python's start, imports, data or compilation: nothing is to be saved."""
  workdir = tmp_path / "run"
  command = [sys.executable, "-m", "d2v_jax", "train", runs.TINY, *ARGUMENTS]
  for _ in range(2):
    process = subprocess.Popen(
      [*command, f"--workdir={workdir}"],
      cwd=runs.ROOT,
      env=runs.environment(DEVICES),
      stdout=subprocess.DEVNULL,
      stderr=subprocess.PIPE,
      text=True,
    )
    time.sleep(draw.uniform(0.05, 4.0))
    process.send_signal(signal.SIGTERM)
    ((status, _, err),) = runs.finish(process)
    assert "Traceback" not in err
    assert status in (0, 143, -signal.SIGTERM), err
  status, _, err = train("images", workdir)
  assert (status, err) == (0, "")
  assert_as_undisturbed("images", workdir)


@pytest.mark.slow
def test_ctrl_c_in_a_terminal(tmp_path):
  process = runs.start(
    "--config.total_steps=100000",
    "--config.evaluation.evaluators=None",
    workdir=tmp_path / "run",
  )
  try:
    assert process.stdout.readline().startswith("looked at 64 of 1,297 ")
    assert process.stdout.readline().startswith("compiling the step ")
    first = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    ((status, _, err),) = runs.finish(process)
  finally:
    process.kill()
  assert first.startswith("step 1/100000  loss ")
  assert status == 130, err
  assert "SIGINT: stopped after step " in err
  assert "Traceback" not in err
  step, _ = runs.state(tmp_path / "run")
  assert list(runs.losses(tmp_path / "run")) == list(range(1, step + 1))
