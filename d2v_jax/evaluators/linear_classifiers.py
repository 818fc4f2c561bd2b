"""Linear classifiers of standardised features, trained side by side."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

# Rows classified at a time; bounds memory, not the result.
_CHUNK = 2**14


class LinearClassifiers(NamedTuple):
  """G of them, of the same standardised features."""

  mean: jax.Array  # [D]
  std: jax.Array  # [D]
  weights: jax.Array  # [G, D, C]
  bias: jax.Array  # [G, C]


def moments(x: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Gives what standardises features.

  Args:
    x: [n, D] float32.

  Returns:
    Mean [D] and standard deviation [D], 1 where a feature is constant.
  """
  mean, std = x.mean(0), x.std(0)
  # A constant feature keeps its scale; rounding may give it a tiny std.
  return mean, jnp.where(std > 1e-6 * jnp.abs(mean), std, 1)


def score(
  classifiers: LinearClassifiers, x: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Classifies examples with each of G classifiers.

  Args:
    classifiers: G of them.
    x: [n, D] float32.
    y: [n] int32. A class that was not trained counts as a mistake.

  Returns:
    Accuracy [G], float64, and mean cross entropy [G], float64 (infinite for
    a classifier that has diverged, which then has accuracy 0).
  """
  totals = np.zeros((2, len(classifiers.bias)), np.float64)
  for start in range(0, len(x), _CHUNK):
    chunk = slice(start, start + _CHUNK)
    totals += np.asarray(_score(classifiers, x[chunk], y[chunk]), np.float64)
  accuracy, loss = totals / len(x)
  finite = np.isfinite(loss)
  return np.where(finite, accuracy, 0), np.where(finite, loss, np.inf)


@functools.partial(jax.jit, static_argnames="classes")
def train(
  x: jax.Array,
  y: jax.Array,
  order: jax.Array,
  learning_rates: jax.Array,
  weight_decays: jax.Array,
  *,
  classes: int,
) -> LinearClassifiers:
  """Minimises cross entropy by SGD with Nesterov momentum and a cosine.

  Args:
    x: [n, D] float32.
    y: [n] int32.
    order: [steps, batch size], rows of each step.
    learning_rates: [G], peaks.
    weight_decays: [G], weights of half the squared norm of the weights.
    classes: C, static.
  """
  mean, std = moments(x)
  x = (x - mean) / std

  def train_one(
    learning_rate: jax.Array, weight_decay: jax.Array
  ) -> tuple[jax.Array, jax.Array]:
    schedule = optax.cosine_decay_schedule(learning_rate, len(order))
    tx = optax.sgd(schedule, momentum=0.9, nesterov=True)

    def loss(params: tuple[jax.Array, jax.Array], rows: jax.Array) -> jax.Array:
      logits = _logits(*params, x[rows])
      entropy = optax.softmax_cross_entropy_with_integer_labels(logits, y[rows])
      return entropy.mean() + weight_decay / 2 * (params[0] ** 2).sum()

    def step(carry: Any, rows: jax.Array) -> tuple[Any, None]:
      params, opt_state = carry
      updates, opt_state = tx.update(jax.grad(loss)(params, rows), opt_state)
      return (optax.apply_updates(params, updates), opt_state), None

    params = jnp.zeros((x.shape[1], classes)), jnp.zeros(classes)
    (params, _), _ = jax.lax.scan(step, (params, tx.init(params)), order)
    return params

  weights, bias = jax.vmap(train_one)(learning_rates, weight_decays)
  return LinearClassifiers(mean, std, weights, bias)


@jax.jit
def _score(
  classifiers: LinearClassifiers, x: jax.Array, y: jax.Array
) -> jax.Array:
  """How many are right, and the sum of cross entropies: [2, G]."""
  x = (x - classifiers.mean) / classifiers.std

  def score_one(params: tuple[jax.Array, jax.Array]) -> jax.Array:
    logits = _logits(*params, x)
    # A class that was never trained has no logit.
    known = jax.nn.one_hot(y, logits.shape[1])
    loss = -(known * jax.nn.log_softmax(logits)).sum()
    return jnp.stack([(logits.argmax(-1) == y).sum(dtype=jnp.float32), loss])

  return jax.lax.map(score_one, (classifiers.weights, classifiers.bias)).T


def _logits(weights: jax.Array, bias: jax.Array, x: jax.Array) -> jax.Array:
  # The same number on every kind of device.
  return jnp.matmul(x, weights, precision="highest") + bias
