"""What tests of several objectives do with them."""

import functools

import jax
import numpy as np
import optax

from d2v_jax.training import state as train_state
from d2v_jax.training.step import train_step


def assert_gradient(loss, params, rtol=1e-7):
  """The gradient of loss(params) is the difference quotient; in float64."""
  rng = np.random.default_rng(1)
  direction = jax.tree.map(lambda p: rng.normal(size=p.shape), params)
  loss = jax.jit(loss)
  along = optax.tree.vdot(jax.grad(loss)(params), direction)
  step = 1e-6

  def at(sign):
    return loss(
      jax.tree.map(lambda p, d: p + sign * step * d, params, direction)
    )

  quotient = (at(1) - at(-1)) / (2 * step)
  assert abs(quotient) > 1e-3
  np.testing.assert_allclose(along, quotient, rtol=rtol)


def train(objective, batch, steps, rate=3e-3):
  """Metrics of each of so many steps on one batch, and the state after them."""
  tx = optax.adam(rate)
  create = functools.partial(train_state.create, objective=objective, tx=tx)
  state = jax.jit(create)(jax.random.key(0), batch)
  step = jax.jit(
    lambda state, batch: train_step(
      state, batch, objective=objective, tx=tx, schedule=lambda n: rate
    )
  )
  found = []
  for _ in range(steps):
    state, metrics = step(state, batch)
    found.append({k: float(v) for k, v in metrics.items()})
  return found, state
