"""One parameter update as a pure function."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from d2v_jax.objectives.objective import (
  Batch,
  Loss,
  Metrics,
  Objective,
  Params,
)
from d2v_jax.training.optimizer import Schedule
from d2v_jax.training.state import TrainState
from d2v_jax.training.trouble.gradient_norms import GradientLimit


def train_step(
  state: TrainState,
  batch: Batch,
  *,
  objective: Objective,
  tx: optax.GradientTransformation,
  schedule: Schedule,
  accumulate: int = 1,
  skip_bad: bool = False,
  limit: GradientLimit | None = None,
) -> tuple[TrainState, Metrics]:
  """One parameter update, and one step of the teacher.

  Args:
    state: donate it when jitting.
    batch: arrays [B, ...] of the global batch.
    objective: what is learned.
    tx: the optimizer.
    schedule: learning rate by update number, for the log.
    accumulate: micro-batches per update; the teacher, the schedules and the
      step count move once per update.
    skip_bad: leave parameters, optimizer and teacher as they are where the loss
      or the gradient is not finite, or its norm is beyond the limit; the metric
      `skipped` says so.
    limit: of the gradient's norm; the metric `grad_norm_limit` is what it was
      for this step.

  Returns:
    The new state and scalar metrics of this update.
  """
  grads, mean = gradients(
    state.params,
    state.teacher_params,
    batch,
    jax.random.fold_in(state.rng, state.step),
    objective=objective,
    accumulate=accumulate,
  )
  updates, opt_state = tx.update(grads, state.opt_state, state.params)
  params = optax.apply_updates(state.params, updates)
  step = state.step + 1
  teacher_params, teacher_metrics = objective.update_teacher(
    state.teacher_params, params, step
  )
  grad_norm = optax.tree.norm(grads)
  judged: Metrics = {}
  good = jnp.isfinite(mean.value) & jnp.isfinite(grad_norm)
  norms = state.gradient_norms
  if limit is not None and norms is not None:
    largest = limit.largest(norms)
    judged["grad_norm_limit"] = largest
    good &= grad_norm <= largest
    norms = jax.tree.map(
      lambda new, old: jnp.where(good, new, old),
      limit.counted(norms, grad_norm),
      norms,
    )
  if skip_bad:
    params, teacher_params, opt_state = jax.tree.map(
      lambda new, old: jnp.where(good, new, old),
      (params, teacher_params, opt_state),
      (state.params, state.teacher_params, state.opt_state),
    )
    judged["skipped"] = 1.0 - good
  new_state = dataclasses.replace(
    state,
    step=step,
    params=params,
    teacher_params=teacher_params,
    opt_state=opt_state,
    gradient_norms=norms,
  )
  return new_state, {
    "loss": mean.value,
    **mean.metrics,
    **teacher_metrics,
    **judged,
    "lr": schedule(state.step),
    "grad_norm": grad_norm,
    "param_norm": optax.tree.norm(params),
  }


def gradients(
  params: Params,
  teacher_params: Params,
  batch: Batch,
  rng: jax.Array,
  *,
  objective: Objective,
  accumulate: int = 1,
) -> tuple[Params, Loss]:
  """Gradients of the student's parameters, and the loss.

  Args:
    params: the student's.
    teacher_params: the teacher's own sub-trees.
    batch: arrays [B, ...] of the global batch.
    rng: key of this step.
    objective: what is learned.
    accumulate: micro-batches, over which both are means.
  """

  def loss(
    params: Params, batch: Batch, rng: jax.Array
  ) -> tuple[jax.Array, Loss]:
    loss = objective.loss(params, teacher_params, batch, rng)
    return loss.value, loss

  gradient = jax.grad(loss, has_aux=True)
  if accumulate == 1:
    return gradient(params, batch, rng)
  return _accumulated(gradient, params, batch, rng, accumulate)


def _accumulated(
  gradient: Callable[[Params, Batch, jax.Array], tuple[Params, Loss]],
  params: Params,
  batch: Batch,
  rng: jax.Array,
  count: int,
) -> tuple[Params, Loss]:
  """Means over micro-batches, weighted by what each loss is a mean over."""

  # Example i * count + j goes to micro-batch j: rows stay on their device.
  micro_batches = jax.tree.map(
    lambda x: x.reshape(-1, count, *x.shape[1:]).swapaxes(0, 1), batch
  )  # [B, ...] -> [count, B / count, ...]

  def one(index: jax.Array, micro_batch: Batch) -> tuple[jax.Array, Any]:
    micro_rng = jax.random.fold_in(rng, index)
    grads, loss = gradient(params, micro_batch, micro_rng)
    means = (grads, loss.value, loss.metrics)
    return loss.weight, jax.tree.map(lambda x: x * loss.weight, means)

  def body(total: Any, xs: Any) -> tuple[Any, None]:
    return jax.tree.map(jnp.add, total, one(*xs)), None

  xs = (jnp.arange(count), micro_batches)
  shapes = jax.eval_shape(one, *jax.tree.map(lambda x: x[0], xs))
  zero = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
  (weight, sums), _ = jax.lax.scan(body, zero, xs)
  grads, value, metrics = jax.tree.map(
    lambda x: x / jnp.maximum(weight, 1), sums
  )
  return grads, Loss(value, weight, metrics)
