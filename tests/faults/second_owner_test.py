"""Two runs in one workdir."""

import time

import pytest

from tests import runs
from tests.faults.conftest import ARGUMENTS, DEVICES


@pytest.mark.slow
def test_two_that_are_started_together(draw, assert_as_undisturbed, tmp_path):
  both = {"workdir": tmp_path / "run", "devices": DEVICES}
  first = runs.start(*ARGUMENTS, **both)
  time.sleep(draw.uniform(0, 0.5))
  second = runs.start(*ARGUMENTS, **both, report=tmp_path / "second")
  ended = sorted(runs.finish(first, second), key=lambda end: end[0])
  assert [status for status, _, _ in ended] == [0, 4], ended
  assert ended[1][2].startswith("refused: the workdir ")
  assert_as_undisturbed("images", tmp_path / "run")


@pytest.mark.slow
def test_one_that_comes_while_another_runs(
  draw, train, assert_as_undisturbed, tmp_path
):
  workdir = tmp_path / "run"
  first = runs.start(
    *ARGUMENTS,
    workdir=workdir,
    devices=DEVICES,
    # From then on it takes half a second for a batch.
    moment="save",
    count=draw.randint(1, 3),
    signum=0,
  )
  try:
    while not list((workdir / "checkpoints").glob("[0-9]")):
      assert first.poll() is None, first.communicate()
      time.sleep(0.1)
    status, out, err = train("images", workdir)
    assert (status, out) == (4, "")
    assert err.startswith(f"refused: the workdir {workdir} belongs to the run")
    ((status, _, err),) = runs.finish(first)
  finally:
    first.kill()
  assert status == 0, err
  assert_as_undisturbed("images", workdir)
