"""The step of a config alone, against that of the run with its data."""

import jax

from d2v_jax import config_file
from d2v_jax.training import batch_shapes, build
from d2v_jax.training.compiled_run import CompiledRun
from d2v_jax.training.compiled_step import CompiledStep
from tests import runs


def load(**changes):
  config = config_file.load(str(runs.ROOT / runs.TINY))
  for path, value in changes.items():
    config_file.override(config, path, str(value))
  return config


def test_without_data_it_is_the_same_program():
  run = CompiledRun(build.from_config(load(num_devices=2)))
  config = load()
  config.data.source = dict(name="folder", path="there/is/no/such/folder")
  plan = build.plan(config, devices=jax.devices()[:2])
  batch = batch_shapes.of_example(plan.dataset.blank(), plan.dataset, 16)
  assert batch == run.experiment.example_batch
  made = CompiledStep(plan, batch)
  assert made.abstract_state == run.abstract_state
  texts = [x.step.lower(x.abstract_state, batch).as_text() for x in (made, run)]
  assert texts[0] == texts[1]
