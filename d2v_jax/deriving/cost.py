"""Times a few updates of a run, which leave nothing behind."""

import contextlib
import time
from collections.abc import Callable

import jax

from d2v_jax.deriving.run_length import Timing
from d2v_jax.training.compiled_run import CompiledRun
from d2v_jax.training.experiment import Experiment
from d2v_jax.training.programs import Programs
from d2v_jax.training.state import TrainState

_UNTIMED = 2  # the first ones, for which all is new
_FEWEST, _MOST = 5, 100
_SECONDS = 10.0  # after which no more are timed


def measured(run: Experiment, say: Callable[[str], None]) -> Timing:
  """What a start, an update and an evaluation take.

  Args:
    run: whose first updates are made.
    say: is told what is compiled.
  """
  begin = time.monotonic()
  compiled = CompiledRun(run)
  programs = Programs(compiled.step, compiled.abstract_state)
  programs.prepare(run.batch_kinds, say)
  state = compiled.init_state()
  with contextlib.closing(run.batches()) as batches:

    def updated(state: TrainState) -> TrainState:
      state, values = programs(state, compiled.to_devices(next(batches)))
      jax.block_until_ready(values)
      return state

    for _ in range(_UNTIMED):
      state = updated(state)
    began, made = time.monotonic(), 0
    while made < _FEWEST or (
      made < _MOST and time.monotonic() - began < _SECONDS
    ):
      state = updated(state)
      made += 1
    ended = time.monotonic()
  evaluation = 0.0
  if run.evaluation.evaluators:
    compiled.evaluate(state.params, state.teacher_params)
    evaluation = time.monotonic() - ended
  return Timing(
    start=began - begin, update=(ended - began) / made, evaluation=evaluation
  )
