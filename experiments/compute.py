"""Counts the operations of an update of a config."""

from typing import Any

from benchmarks import operations
from d2v_jax.training import build
from d2v_jax.training.trainer import Trainer


def per_update(config: Any) -> float:
  """Operations of the matrix products and convolutions of one update.

  A multiply-add is two. The config's data must be there, as for a run.
  """
  run = build.from_config(config)
  trainer = Trainer(run)
  return operations.count(
    trainer.step, trainer.abstract_state, run.example_batch
  )
