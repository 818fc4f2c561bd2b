"""The teacher: an exponential moving average of sub-trees of the student.

This is the one place that turns the paper's decay tau into optax's step size
1 - tau.
"""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import optax

Params = dict[str, Any]

_SCHEDULES = ("linear", "cosine")


@dataclasses.dataclass(frozen=True)
class Ema:
  """Teacher <- tau(n) teacher + (1 - tau(n)) student, after the n-th update.

  linear: tau(n) = end - (end - start) (1 - n / anneal_steps)
  cosine: tau(n) = end - (end - start) (1 + cos(pi n / anneal_steps)) / 2
  and tau(n) = end from n = anneal_steps on.

  There is one step per optimizer update. (fairseq takes one per micro-batch, so
  its gradient accumulation changes tau.)

  Source: data2vec section 3.2 (linear); BYOL, arXiv 2006.07733 section 3.3
  (cosine, with end = 1).

  Attributes:
    start: tau at the beginning.
    end: tau at the end; start = end keeps it constant.
    anneal_steps: updates from start to end.
    schedule: 'linear' or 'cosine'.
    tracked: top-level sub-trees that are averaged; the others are shared with
      the student. Empty means all.
  """

  start: float = 0.999
  end: float = 0.9999
  anneal_steps: int = 0
  schedule: str = "linear"
  tracked: tuple[str, ...] = ()

  def __post_init__(self) -> None:
    if self.schedule not in _SCHEDULES:
      raise ValueError(
        f"Ema: unknown schedule {self.schedule!r}; choose one of: "
        f"{', '.join(_SCHEDULES)}."
      )
    if self.start > 1 or not 0 <= self.end <= 1:
      raise ValueError(
        f"Ema: start {self.start} and end {self.end} are decays of the "
        "teacher and must lie in [0, 1], e.g. 0.999 and 0.9999."
      )
    if self.anneal_steps < 0:
      raise ValueError(
        f"Ema: anneal_steps must be 0 or more, got {self.anneal_steps}."
      )

  def decay(self, step: jax.Array | int) -> jax.Array:
    """Tau after `step` completed updates (1 after the first), float32."""
    progress = jnp.minimum(jnp.asarray(step) / max(self.anneal_steps, 1), 1.0)
    if self.schedule == "linear":
      remaining = 1.0 - progress
    else:
      remaining = 0.5 * (1.0 + jnp.cos(math.pi * progress))
    return self.end - (self.end - self.start) * remaining

  def init(self, params: Params) -> Params:
    """The teacher at the start: copies of the tracked sub-trees.

    Copies, because the train state is donated and a buffer can be donated once.

    Raises:
      ValueError: if a tracked name is not a sub-tree of params.
    """
    unknown = set(self.tracked) - set(params)
    if unknown:
      raise ValueError(
        f"Ema: tracked names {sorted(unknown)} are not in the parameters; "
        f"choose from: {', '.join(sorted(params))}."
      )
    names = self.tracked or params
    return {name: jax.tree.map(jnp.copy, params[name]) for name in names}

  def update(
    self, teacher_params: Params, params: Params, step: jax.Array | int
  ) -> Params:
    """One step towards the student after `step` completed updates."""
    student = {name: params[name] for name in teacher_params}
    return optax.incremental_update(
      student, teacher_params, step_size=1.0 - self.decay(step)
    )


def teacher(params: Params, teacher_params: Params) -> Params:
  """The teacher's full parameters: averaged sub-trees, the rest shared."""
  return {**params, **teacher_params}
