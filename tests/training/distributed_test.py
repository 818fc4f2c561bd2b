"""Two processes on this machine, each with two simulated devices."""

import json
import os
import shutil
import signal

import pytest

from d2v_jax import main
from tests import runs

# Wide enough for fsdp to split something.
WIDE = (
  "--config.encoder.width=64",
  "--config.evaluation.every=0",
  "--config.checkpoints.keep_latest=3",
)
FSDP = "--config.sharding=fsdp"


@pytest.fixture(scope="module")
def single(tmp_path_factory):
  """The workdir of the same run in one process."""
  workdir = tmp_path_factory.mktemp("single") / "run"
  assert alone(workdir) == 0
  return workdir


def alone(workdir, *arguments):
  arguments = [*WIDE, "--config.num_devices=4", *arguments]
  return main.main(
    [f"--config={runs.TINY}", f"--workdir={workdir}", *arguments]
  )


def assert_same_losses(workdir, single, through=12):
  expected = {k: v for k, v in runs.losses(single).items() if k <= through}
  assert runs.losses(workdir) == pytest.approx(expected, rel=1e-6)


def at_batch(count, signum=signal.SIGTERM):
  return {"moment": "batch", "count": count, "signum": signum}


@pytest.mark.slow
def test_two_processes_are_one_run(tmp_path, single):
  workdir = tmp_path / "run"
  # One of them is told to stop; both do, after the same step.
  stopped = runs.pair(workdir, *WIDE, moments=({}, at_batch(3)))
  steps = set()
  for status, _, err in stopped:
    assert status == 143, err
    assert "SIGTERM: stopped after step " in err
    assert "Traceback" not in err
    steps.add(err.split("SIGTERM: stopped after step ")[1].split(",")[0])
  (step,) = map(int, steps)
  assert 3 <= step < 12
  assert runs.state(workdir)[0] == step
  looked, compiling, evaluation = stopped[0][1].splitlines()[:3]
  assert looked.startswith(
    "looked at 64 of 1,297 records of config.data.source"
  )
  assert compiling == "compiling the step for inputs of 16 x 8 x 8 x 1"
  assert evaluation.startswith("evaluation at step 0:  ")
  assert stopped[1][1] == ""  # process 0 speaks for both
  assert_same_losses(workdir, single, through=step)

  # One process goes on.
  other = shutil.copytree(workdir, tmp_path / "other")
  assert alone(other) == 0
  assert_same_losses(other, single)

  # Two go on, with a split state, and measure what they compare with.
  compared = "--config.evaluation.references=20000"
  finished = runs.pair(workdir, *WIDE, FSDP, compared)
  for status, _, err in finished:
    assert status == 0, err
  assert finished[0][1].startswith(f"continuing {workdir} from step {step}\n")
  assert finished[1][1] == ""
  assert "pixels pooled alike" in finished[0][1]
  assert_same_losses(workdir, single)
  (kept,) = json.loads((workdir / "references.json").read_text())
  assert kept["simple"]["knn"]["pixels"]["accuracy"] > 0.9
  record = json.loads((workdir / "run.json").read_text())
  assert [s["processes"] for s in record["starts"]] == [2, 2]
  assert [s["step"] for s in record["starts"]] == [0, step]

  # They evaluate alike, and as one process does.
  first, second = (
    runs.reported(f"{workdir}.report{i}", "results") for i in range(2)
  )
  assert first == second
  assert len(first) == 2
  mine = [x for x in runs.metrics(single) if "knn/accuracy" in x]
  for theirs, line in zip(first, mine, strict=True):
    assert theirs == pytest.approx({k: line[k] for k in theirs}, rel=1e-3)


@pytest.mark.slow
def test_one_processs_run_goes_on_in_two(tmp_path, single):
  workdir = tmp_path / "run"
  shutil.copytree(single, workdir)
  for step in (8, 12):
    shutil.rmtree(workdir / "checkpoints" / str(step))
  # Both are told to stop, as by Ctrl-C in a terminal that runs both.
  stopped = runs.pair(
    workdir,
    *WIDE,
    FSDP,
    "--config.evaluation.evaluators=None",
    moments=(at_batch(1, signal.SIGINT), at_batch(1, signal.SIGINT)),
  )
  for status, _, err in stopped:
    assert status == 130, err
    assert "SIGINT: stopped after step " in err
  assert f"continuing {workdir} from step 4\n" in stopped[0][1]
  step, _ = runs.state(workdir)
  assert 5 <= step < 12
  assert_same_losses(workdir, single, through=step)


@pytest.mark.slow
def test_what_is_wrong_is_told_and_nobody_hangs(tmp_path):
  for status, _, err in runs.pair(tmp_path / "run", "--config.num_devices=2"):
    assert status == 2
    assert "config.num_devices: several processes use all 4 devices" in err


@pytest.mark.slow
def test_processes_find_each_other_by_slurms_variables(tmp_path):
  both = runs.finish(
    *(
      runs.start(
        "--distributed",
        "--config.num_devices=2",
        workdir=tmp_path / "run",
        devices=2,
        variables={
          # JAX makes the port of it.
          "SLURM_JOB_ID": str(os.getpid()),
          "SLURM_STEP_NODELIST": "localhost",
          "SLURM_NTASKS": "2",
          "SLURM_PROCID": str(i),
          "SLURM_LOCALID": str(i),
        },
      )
      for i in range(2)
    )
  )
  for status, _, err in both:
    assert status == 2, err
    assert "config.num_devices: several processes use all 4 devices" in err
