"""A bad step, from the run that keeps it to what is said of it."""

import json
import shutil

import jax.numpy as jnp
import numpy as np
import pytest

from d2v_jax import main, replay
from d2v_jax.objectives.data2vec import Data2Vec
from tests import runs

ARGUMENTS = (
  f"--config={runs.TINY}",
  "--config.num_devices=1",
  "--config.evaluation.evaluators=None",
)


@pytest.fixture(scope="module")
def diverged(tmp_path_factory):
  """The workdir of a run whose first update, of its second step, is too far."""
  workdir = tmp_path_factory.mktemp("diverged") / "run"
  far = ("--config.schedule.peak=1e25", "--config.checkpoint_every=1")
  assert main.main([*ARGUMENTS, *far, f"--workdir={workdir}"]) == 3
  return workdir


@pytest.fixture
def replayed(capsys):
  def replayed(folder, *arguments):
    assert replay.main([str(folder), *arguments]) == 0
    return capsys.readouterr()

  return replayed


@pytest.mark.slow
def test_a_step_is_repeated(diverged, replayed):
  folder = diverged / "bad_steps" / "2"
  before = sorted(diverged.rglob("*"))
  out, err = replayed(folder)
  first, second, examples = out.splitlines()
  assert first.startswith("step 2, from the checkpoint of step 1: loss 0.2")
  assert first.endswith(", as in the run")
  assert second == (
    "loss and gradients are finite, operation by operation; in the run "
    "param_norm is inf"
  )
  assert examples.startswith("its examples: digits/train[")
  assert examples.endswith(" and 8 more")
  assert err.startswith(
    "step 2 from the checkpoint of step 1: 0 steps to repeat on the way\n"
  )
  assert sorted(diverged.rglob("*")) == before


@pytest.mark.slow
def test_the_cause_and_its_examples_are_named(
  diverged, replayed, tmp_path, monkeypatch
):
  loss = Data2Vec.loss

  def poisoned(self, params, teacher_params, batch, rng):
    good = loss(self, params, teacher_params, batch, rng)
    white = (batch["inputs"] == 255).all((1, 2, 3))
    bad = jnp.log(jnp.where(white, -1.0, 1.0)).sum()
    return good._replace(value=good.value + bad)

  monkeypatch.setattr(Data2Vec, "loss", poisoned)
  folder = tmp_path / "run" / "bad_steps" / "2"
  shutil.copytree(diverged / "bad_steps" / "2", folder)
  with np.load(folder / "batch.npz") as arrays:
    batch = dict(arrays)
  batch["inputs"][3] = 255
  np.savez(folder / "batch.npz", **batch)
  told = json.loads((folder / "step.json").read_text())
  out, err = replayed(folder)
  # No checkpoint is left, so it began as the run did.
  assert err.startswith("step 2 from the beginning: 1 steps to repeat on")
  assert out.splitlines()[0].startswith("step 2, from the beginning: loss nan")
  assert "and in the run loss 0.2" in out
  assert out.splitlines()[1:] == [
    "first not finite: the loss: NaN by `log`, 16",
    f"in 1 of 16 examples: {told['examples'][3]}",
  ]


def test_what_is_no_bundle_is_refused(tmp_path, capsys):
  assert replay.main([str(tmp_path)]) == 2
  assert "is no bundle of a bad step" in capsys.readouterr().err
