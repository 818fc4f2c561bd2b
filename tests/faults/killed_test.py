"""kill -9."""

import json
import signal

import pytest

from tests import runs
from tests.faults.conftest import CONFIGS, STEPS


def starts(workdir):
  """Steps from which the run was started or continued."""
  record = json.loads((workdir / "run.json").read_text())
  return [start["step"] for start in record["starts"]]


@pytest.mark.slow
@pytest.mark.parametrize("kind", CONFIGS)
def test_a_run_goes_on_as_if_nothing_had_been(
  kind, draw, disturbed, train, assert_as_undisturbed, tmp_path
):
  """Batches are made in another way for each modality."""
  workdir = tmp_path / "run"
  moment, most = draw.choice([("batch", STEPS[kind]), ("save", 3)])
  moments = {"moment": moment, "count": draw.randint(1, most)}
  status, _, err = disturbed(kind, workdir, **moments)
  assert status == -signal.SIGKILL, err
  status, _, err = train(kind, workdir)
  assert (status, err) == (0, "")
  assert_as_undisturbed(kind, workdir)


@pytest.mark.slow
def test_killed_again_and_again(tmp_path, draw):
  def start(name, **moment):
    return runs.run(*runs.RANDOM, workdir=tmp_path / name, **moment)

  status, _, err = start("whole")
  assert status == 0, err
  first = draw.randint(1, 3)
  for moment, count in (
    ("batch", first),  # nothing is saved, but something is logged
    ("save", 1),  # a checkpoint is half written
    ("evaluate", 2),  # between two checkpoints
  ):
    status, _, err = start("killed", moment=moment, count=count)
    assert status == -signal.SIGKILL, err
  status, _, err = start("killed")
  assert status == 0, err
  assert "Traceback" not in err

  whole, killed = tmp_path / "whole", tmp_path / "killed"
  assert runs.metrics(whole) == runs.metrics(killed)
  runs.assert_same_state(whole, killed)
  assert len(starts(killed)) == 4
  assert starts(killed)[:2] == [0, 0]
  # Each attempt took the batches from its start on.
  expected = runs.reported(f"{whole}.report", "batch")
  assert len(expected) == 12
  taken = runs.reported(f"{killed}.report", "batch")
  ends = [first, 4]
  for begin, end in zip(starts(killed), ends, strict=False):
    assert taken[: end - begin] == expected[begin:end]
    taken = taken[end - begin :]
  third = len(taken) - (12 - starts(killed)[3])
  begin = starts(killed)[2]
  assert taken[:third] == expected[begin : begin + third]
  assert taken[third:] == expected[starts(killed)[3] :]
