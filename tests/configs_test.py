"""Every shipped config builds, has its golden size, and trains a step."""

import pathlib

import jax
import numpy as np
import pytest

from d2v_jax import config as config_lib
from d2v_jax import experiment
from d2v_jax.trainer import Trainer

CONFIGS = pathlib.Path(__file__).parents[1] / "configs"

# Parameters of the student with mask token and head.
PARAMETERS = {
  "vit_base": 86_256_720,
  "vit_large": 304_186_816,
  "vit_small": 21_747_240,
  "digits": 345_408,
  "image_folder": 824_192,
  "fashion_mnist": 818_176,
}


# The others take one step in the slow tests.
QUICK = ("vit_base", "image_folder")


def load(name):
  """The config with the bundled digits instead of its data."""
  config = config_lib.load(str(CONFIGS / f"{name}.py"))
  digits = {"name": "digits", "split": "train"}
  config.data.source = digits
  config.evaluation.train = digits
  config.evaluation.test = {**digits, "split": "test"}
  config.num_devices = 1
  return config


def test_every_config_is_listed():
  assert {p.stem for p in CONFIGS.glob("*.py")} == PARAMETERS.keys()


@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_number_of_parameters(name):
  run = experiment.from_config(load(name))
  shapes = jax.eval_shape(
    run.objective.init, jax.random.key(0), run.example_batch
  )
  count = sum(np.prod(s.shape) for s in jax.tree.leaves(shapes))
  assert count == PARAMETERS[name]


@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_top_level_fields(name):
  config = load(name)
  for field in ("seed", "total_steps", "checkpoint_every", "log_every"):
    assert isinstance(config[field], int)


@pytest.mark.parametrize(
  "name",
  [
    pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow)
    for name in sorted(PARAMETERS)
  ],
)
def test_one_step_at_reduced_width(name):
  config = load(name)
  config.batch_size = 2
  config.accumulate = 1
  config.compute_dtype = "float32"
  config.encoder.width = 16
  config.encoder.num_heads = 2
  config.encoder.depth = config.objective.top_k
  config.data.num_threads = 1
  run = experiment.from_config(config)
  trainer = Trainer(run)
  batches = run.batches()
  try:
    state, metrics = trainer.step(
      trainer.init_state(), trainer.to_devices(next(batches))
    )
  finally:
    batches.close()
  assert state.step == 1
  assert all(np.isfinite(m) for m in jax.tree.leaves(metrics))
