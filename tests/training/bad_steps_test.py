import json
import math

import numpy as np
from etils import epath

from d2v_jax.training import bad_steps


def test_a_step_comes_back_as_it_was(tmp_path, monkeypatch):
  batch = {"inputs": np.arange(6.0).reshape(2, 3), "mask": np.eye(2, 3) > 0}
  around = [{"step": 6, "loss": 0.5}, {"step": 7, "loss": math.nan}]
  monkeypatch.setattr(bad_steps.jax, "process_index", lambda: 3)
  folder = bad_steps.keep(
    epath.Path(tmp_path), 7, batch, ["a/1.png", "a/2.png"], around, seed=4
  )
  assert folder == epath.Path(tmp_path) / "bad_steps" / "7-3"
  with np.load(folder / "batch.npz") as arrays:
    assert arrays.keys() == batch.keys()
    for name, array in batch.items():
      np.testing.assert_array_equal(arrays[name], array)
  assert json.loads((folder / "step.json").read_text()) == {
    "step": 7,
    "seed": 4,
    "examples": ["a/1.png", "a/2.png"],
    "metrics": [{"step": 6, "loss": 0.5}, {"step": 7, "loss": "nan"}],
  }
