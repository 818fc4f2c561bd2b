"""The step as programs: one for each shape that batches have."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax

from d2v_jax.training import operations
from d2v_jax.training.state import TrainState

_Key = tuple[tuple[str, tuple[int, ...], str], ...]


class _Program(NamedTuple):
  run: Callable[..., tuple[TrainState, dict[str, jax.Array]]]
  operations: float


class Programs:
  """Runs the step by the program that fits a batch, and knows its operations.

  Args:
    step: jitted (state, batch) -> (state, metrics).
    state: shapes, dtypes and shardings of the state.
  """

  def __init__(self, step: Any, state: TrainState) -> None:
    self._step = step
    self._state = state
    self._programs: dict[_Key, _Program] = {}

  def prepare(
    self, batches: Sequence[Mapping[str, Any]], say: Callable[[str], None]
  ) -> None:
    """Compiles what is not compiled yet, so that no step has to wait.

    Args:
      batches: shapes and dtypes of the batches to come.
      say: is told about each before it is compiled.
    """
    for number, batch in enumerate(batches, 1):
      shape = " x ".join(map(str, batch["inputs"].shape))
      place = f" ({number} of {len(batches)})" if len(batches) > 1 else ""
      say(f"compiling the step for inputs of {shape}{place}")
      self._program(batch)

  def __call__(
    self, state: TrainState, batch: Mapping[str, jax.Array]
  ) -> tuple[TrainState, dict[str, jax.Array]]:
    """The next state, and metrics; the state is donated."""
    return self._program(batch).run(state, batch)

  def operations(self, batch: Mapping[str, Any]) -> float:
    """Operations of a step on such a batch, by `operations.count`.

    Args:
      batch: arrays, or their shapes and dtypes.
    """
    return self._program(batch).operations

  def _program(self, batch: Mapping[str, Any]) -> _Program:
    key = tuple(
      (name, batch[name].shape, str(batch[name].dtype))
      for name in sorted(batch)
    )
    if key not in self._programs:
      traced = self._step.trace(self._state, batch)
      self._programs[key] = _Program(
        traced.lower().compile(), operations.count_traced(traced.jaxpr)
      )
    return self._programs[key]
