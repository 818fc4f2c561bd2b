"""Runs that are disturbed in a process of their own, and go on in this one.

When and where they are is drawn; D2V_FAULTS_SEED in the environment draws
other moments than the usual ones.
"""

import functools
import os
import random
import shutil
import signal

import pytest

from d2v_jax import main
from tests import runs

CONFIGS = {
  "images": runs.TINY,
  "speech": "tests/configs/tiny_speech.py",
  "text": "tests/configs/tiny_text.py",
}
# As many as in this process, so that the programs are the same.
DEVICES = 8
STEPS = {"images": 12, "speech": 8, "text": 8}
# Their dropout and flips are random, and must go on, too.
ARGUMENTS = (
  "--config.num_devices=1",
  "--config.evaluation.evaluators=None",
  "--config.checkpoint_every=2",
  "--config.checkpoints.keep_latest=3",
)


@pytest.fixture
def draw(request):
  """A generator of this test's own."""
  seed = os.environ.get("D2V_FAULTS_SEED", "0")
  return random.Random(f"{seed} {request.node.nodeid}")


@pytest.fixture
def train(capsys):
  """Starts the command in this process; returns status, stdout, stderr."""

  def train(kind, workdir, *arguments):
    capsys.readouterr()
    command = [f"--config={CONFIGS[kind]}", f"--workdir={workdir}"]
    status = main.main([*command, *ARGUMENTS, *arguments])
    return status, *capsys.readouterr()

  return train


@pytest.fixture
def disturbed():
  """Starts it in another one; see tests.child."""

  def disturbed(kind, workdir, *arguments, **moment):
    config = CONFIGS[kind]
    return runs.run(
      *ARGUMENTS,
      *arguments,
      workdir=workdir,
      devices=DEVICES,
      config=config,
      **moment,
    )

  return disturbed


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
  """Modality -> the workdir of a run that nothing happens to."""

  @functools.cache
  def undisturbed(kind):
    workdir = tmp_path_factory.mktemp("undisturbed") / kind
    command = [f"--config={CONFIGS[kind]}", f"--workdir={workdir}"]
    assert main.main([*command, *ARGUMENTS]) == 0
    return workdir

  return undisturbed


@pytest.fixture(scope="session")
def ended_early(tmp_path_factory):
  """A run of images that SIGTERM has ended at its tenth step."""
  workdir = tmp_path_factory.mktemp("early") / "run"
  status, _, err = runs.run(
    *ARGUMENTS,
    workdir=workdir,
    devices=DEVICES,
    moment="batch",
    count=10,
    signum=signal.SIGTERM,
  )
  assert status == 143, err
  return workdir


@pytest.fixture
def early(ended_early, tmp_path):
  """A copy of it, to be damaged."""
  return shutil.copytree(ended_early, tmp_path / "run")


@pytest.fixture
def assert_as_undisturbed(undisturbed):
  """A run has ended as if nothing had happened, bit for bit."""

  def check(kind, workdir):
    assert runs.metrics(workdir) == runs.metrics(undisturbed(kind))
    runs.assert_same_state(workdir, undisturbed(kind))

  return check
