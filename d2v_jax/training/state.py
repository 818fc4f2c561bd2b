"""The whole state of a run as one pytree."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from d2v_jax.objectives.objective import Batch, Objective, Params
from d2v_jax.training.trouble import gradient_norms
from d2v_jax.training.trouble.gradient_norms import (
  GradientLimit,
  GradientNorms,
)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
  """What a train step reads and returns.

  Attributes:
    step: int32 scalar, completed parameter updates.
    rng: key of the run; folded with the step, never advanced.
    params: the student's parameters.
    teacher_params: the teacher's tracked sub-trees ({} without a teacher).
    opt_state: optimizer state.
    gradient_norms: of the steps so far; None where they have no limit.
  """

  step: jax.Array
  rng: jax.Array
  params: Params
  teacher_params: Params
  opt_state: Any
  gradient_norms: GradientNorms | None = None


def create(
  rng: jax.Array,
  batch: Batch,
  *,
  objective: Objective,
  tx: optax.GradientTransformation,
  limit: GradientLimit | None = None,
) -> TrainState:
  """Fresh state; pure, so that it can be shaped and sharded before it exists.

  Args:
    rng: key of the run.
    batch: one batch, of which only shapes and dtypes matter.
    objective: what is learned.
    tx: the optimizer.
    limit: of the gradients' norms.

  Returns:
    TrainState at step 0.
  """
  params = objective.init(jax.random.split(rng)[0], batch)
  return from_params(
    step_rng(rng), params, objective=objective, tx=tx, limit=limit
  )


def step_rng(rng: jax.Array) -> jax.Array:
  """The key that a run's steps fold with their number."""
  return jax.random.split(rng)[1]


def from_params(
  rng: jax.Array,
  params: Params,
  *,
  objective: Objective,
  tx: optax.GradientTransformation,
  limit: GradientLimit | None = None,
) -> TrainState:
  """State at step 0 around given parameters: new teacher, new optimizer."""
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    rng=rng,
    params=params,
    teacher_params=objective.init_teacher(params),
    opt_state=tx.init(params),
    gradient_norms=None if limit is None else gradient_norms.none_yet(),
  )
