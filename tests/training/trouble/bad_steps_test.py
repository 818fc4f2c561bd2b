import json
import math

import numpy as np
import pytest
from etils import epath

from d2v_jax.training.trouble import bad_steps

AROUND = [{"step": 6, "loss": 0.5}, {"step": 7, "loss": math.nan}]
CONFIG = {"seed": 4}


@pytest.fixture
def keep(tmp_path, monkeypatch):
  """Keeps one process's part of a step."""

  def keep(step, batch, names, process=0, count=1):
    monkeypatch.setattr(bad_steps.jax, "process_index", lambda: process)
    monkeypatch.setattr(bad_steps.jax, "process_count", lambda: count)
    return bad_steps.keep(
      epath.Path(tmp_path), step, batch, names, AROUND, CONFIG, "loss is nan"
    )

  return keep


def test_a_step_comes_back_as_it_was(keep, tmp_path):
  batch = {"inputs": np.arange(6.0).reshape(2, 3), "mask": np.eye(2, 3) > 0}
  folder = keep(7, batch, ["a/1.png", "a/2.png"])
  assert folder == epath.Path(tmp_path) / "bad_steps" / "7"
  with np.load(folder / "batch.npz") as arrays:
    assert arrays.keys() == batch.keys()
    for name, array in batch.items():
      np.testing.assert_array_equal(arrays[name], array)
  assert json.loads((folder / "step.json").read_text()) == {
    "step": 7,
    "reason": "loss is nan",
    "processes": 1,
    "examples": ["a/1.png", "a/2.png"],
    "metrics": [{"step": 6, "loss": 0.5}, {"step": 7, "loss": "nan"}],
    "config": CONFIG,
  }
  bad = bad_steps.read(folder)
  assert (bad.step, bad.examples) == (7, ["a/1.png", "a/2.png"])
  assert (bad.config, bad.metrics[0]) == (CONFIG, AROUND[0])
  assert bad.reason == "loss is nan"
  for name, array in batch.items():
    np.testing.assert_array_equal(bad.batch[name], array)


def test_the_parts_of_processes_are_one_batch(keep):
  rows = np.arange(12).reshape(6, 2)
  names = [f"{i}.png" for i in range(6)]
  folder = keep(7, {"inputs": rows[0::3]}, names[0::3], 0, 3)
  for process in (1, 2):
    part = {"inputs": rows[process::3]}
    where = keep(7, part, names[process::3], process, 3)
    assert where.name == f"7-{process}"
  bad = bad_steps.read(folder)
  np.testing.assert_array_equal(bad.batch["inputs"], rows)
  assert bad.examples == names
  (folder.parent / "7-2" / "step.json").unlink()
  with pytest.raises(ValueError, match=r"7-2 is no bundle of a bad step"):
    bad_steps.read(folder)


def test_the_newest_are_kept(keep, tmp_path):
  for process in (0, 1):
    for step in range(8, 8 + bad_steps.KEPT + 3):
      keep(step, {"inputs": np.zeros(1)}, ["a"], process, 2)
  (tmp_path / "bad_steps" / "notes").mkdir()
  keep(30, {"inputs": np.zeros(1)}, ["a"], 0, 2)
  kept = {x.name for x in (tmp_path / "bad_steps").iterdir()}
  newest = range(11, 11 + bad_steps.KEPT)
  assert kept == {
    "notes",
    "30",
    *map(str, newest[1:]),
    *(f"{step}-1" for step in newest),
  }


@pytest.mark.parametrize(
  ("content", "text"),
  [
    ("{", "damaged: Expecting"),
    ("[" * 100_000, "damaged: "),
    ("[]", "damaged: it holds no object"),
    ('{"step": "7"}', "it has no `step` that fits"),
  ],
)
def test_a_damaged_one_is_named(keep, content, text):
  folder = keep(7, {"inputs": np.zeros(1)}, ["a"])
  (folder / "step.json").write_text(content)
  with pytest.raises(ValueError, match=rf"7/step.json is {text}|{text}"):
    bad_steps.read(folder)


def test_a_damaged_batch_is_named(keep):
  folder = keep(7, {"inputs": np.zeros(1)}, ["a"])
  (folder / "batch.npz").write_bytes(b"PK\x03\x04 no archive")
  with pytest.raises(ValueError, match=r"7/batch.npz cannot be read"):
    bad_steps.read(folder)
