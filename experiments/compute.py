"""Counts the operations of an update of a config."""

from typing import Any

from d2v_jax.training import build, operations
from d2v_jax.training.compiled_run import CompiledRun


def per_update(config: Any) -> float:
  """Operations of the matrix products and convolutions of one update.

  A multiply-add is two. The config's data must be there, as for a run.
  """
  run = build.from_config(config)
  compiled = CompiledRun(run)
  return operations.count(
    compiled.step, compiled.abstract_state, run.example_batch
  )
