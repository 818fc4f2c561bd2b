"""A trace of some steps, for XProf and TensorBoard."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import jax
from etils import epath


@dataclasses.dataclass(frozen=True, kw_only=True)
class Profile:
  """config.profile: which steps are traced.

  Attributes:
    start: number of the first one, 1 or more. The first steps of a run wait for
      its data, and are not like the others.
    steps: how many.
  """

  start: int
  steps: int

  def __post_init__(self) -> None:
    for name in ("start", "steps"):
      if getattr(self, name) < 1:
        raise ValueError(
          f"{name} must be 1 or more, got {getattr(self, name)}."
        )

  @property
  def last(self) -> int:
    """Number of the last step that is traced."""
    return self.start + self.steps - 1


class Profiler:
  """Writes the trace into the folder `profile` of the workdir.

  Args:
    profile: which steps; None: none.
    workdir: of the run.
    pause: leaves out of the run's speed what happens within.
  """

  def __init__(
    self,
    profile: Profile | None,
    workdir: epath.Path,
    pause: Callable[[], AbstractContextManager],
  ) -> None:
    self._profile = profile
    self._folder = str(workdir / "profile")
    self._pause = pause
    self._running = False

  @contextlib.contextmanager
  def step(self, step: int, before: Any) -> Iterator[None]:
    """Marks the beginning of a step, and begins the trace if it is its turn.

    Args:
      step: number of the step.
      before: values of the step before, which is not to be in the trace.
    """
    if self._profile is not None and step == self._profile.start:
      jax.block_until_ready(before)
      options = jax.profiler.ProfileOptions()
      # Each call of a Python function would be in it, and take its time.
      options.python_tracer_level = 0
      with self._pause():
        jax.profiler.start_trace(self._folder, profiler_options=options)
      self._running = True
    with jax.profiler.StepTraceAnnotation("train", step_num=step):
      yield

  def begun(self, step: int, values: Any) -> None:
    """Ends the trace if this is its last step, when the step is done.

    Args:
      step: number of the step.
      values: of this step.
    """
    if self._running and self._profile and step == self._profile.last:
      jax.block_until_ready(values)
      with self._pause():
        self.close()

  def close(self) -> None:
    """Ends the trace if it is running, and writes it."""
    if self._running:
      self._running = False
      jax.profiler.stop_trace()
