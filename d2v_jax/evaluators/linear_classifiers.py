"""Linear classifiers of standardised features, trained side by side.

Features stay in host memory; what devices work on goes there a part at a time.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from d2v_jax.evaluators import placed
from d2v_jax.models.hardware import placement

# Rows on the devices at a time; they bound memory, not the result.
_SCORED = 2**13
_TRAINED_ON = 2**13

_Array = np.ndarray | jax.Array
_Params = tuple[jax.Array, jax.Array]  # weights [D, C], bias [C]


class LinearClassifiers(NamedTuple):
  """G of them, of the same standardised features."""

  mean: _Array  # [D]
  std: _Array  # [D]
  weights: _Array  # [G, D, C]
  bias: _Array  # [G, C]


def moments(
  x: np.ndarray, rows: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
  """Gives what standardises features.

  Args:
    x: [n, D] float32.
    rows: Which of them count; None: all.

  Returns:
    Mean [D] and standard deviation [D], float32; 1 where a feature is constant.
  """
  rows = np.arange(len(x)) if rows is None else rows
  chunks = [rows[i : i + _SCORED] for i in range(0, len(rows), _SCORED)]
  mean, squares = np.zeros((2, x.shape[1]))
  for chunk in chunks:
    mean += x[chunk].sum(0, dtype=np.float64) / len(rows)
  for chunk in chunks:
    squares += ((x[chunk] - mean) ** 2).sum(0) / len(rows)
  std = np.sqrt(squares)
  # A constant feature keeps its scale; rounding may give it a tiny std.
  std = np.where(std > 1e-6 * np.abs(mean), std, 1)
  return mean.astype(np.float32), std.astype(np.float32)


def score(
  classifiers: LinearClassifiers,
  x: np.ndarray,
  y: np.ndarray,
  rows: np.ndarray | None = None,
  mesh: Mesh | None = None,
) -> tuple[np.ndarray, np.ndarray]:
  """Classifies examples with each of G classifiers.

  Args:
    classifiers: G of them.
    x: [n, D] float32.
    y: [n] int32. A class that was not trained counts as a mistake.
    rows: Which examples; None: all.
    mesh: Devices that they are split over; None: one device.

  Returns:
    Accuracy [G], float64, and mean cross entropy [G], float64 (infinite for
    a classifier that has diverged, which then has accuracy 0).
  """
  mesh = mesh or placed.one_device()
  rows = np.arange(len(x)) if rows is None else rows
  # Whole chunks of one size, so that there is one program.
  size = mesh.size * -(-min(_SCORED, len(rows)) // mesh.size)
  on_devices = jax.tree.map(
    lambda a: placed.everywhere(np.asarray(a), mesh), classifiers
  )
  totals = np.zeros((2, len(classifiers.bias)), np.float64)
  for start in range(0, len(rows), size):
    chunk = rows[start : start + size]
    x_, y_ = (placed.split(a[chunk], mesh, size) for a in (x, y))
    counted = placed.split(np.ones(len(chunk), bool), mesh, size)
    totals += np.asarray(_score(on_devices, x_, y_, counted), np.float64)
  accuracy, loss = totals / len(rows)
  finite = np.isfinite(loss)
  return np.where(finite, accuracy, 0), np.where(finite, loss, np.inf)


def predict(
  classifiers: LinearClassifiers, x: np.ndarray, mesh: Mesh | None = None
) -> np.ndarray:
  """Classes of examples, as the first of the classifiers tells them.

  Args:
    classifiers: one or more.
    x: [n, D] float32.
    mesh: Of the devices; None: one device.

  Returns:
    [n] int32.
  """
  mesh = mesh or placed.one_device()
  size = mesh.size * -(-min(_SCORED, len(x)) // mesh.size)
  on_devices = jax.tree.map(
    lambda a: placed.everywhere(np.asarray(a), mesh), classifiers
  )
  found = []
  for start in range(0, len(x), size):
    chunk = x[start : start + size]
    classes = _predict(on_devices, placed.split(chunk, mesh, size))
    found.append(placed.fetched(classes, mesh)[: len(chunk)])
  return np.concatenate(found)


def train(
  x: np.ndarray,
  y: np.ndarray,
  order: np.ndarray,
  standard: tuple[np.ndarray, np.ndarray],
  learning_rates: np.ndarray,
  weight_decays: np.ndarray,
  *,
  classes: int,
  mesh: Mesh | None = None,
) -> LinearClassifiers:
  """Minimises cross entropy by SGD with Nesterov momentum and a cosine.

  Each device trains its share of the classifiers, all on the same batches.

  Args:
    x: [n, D] float32.
    y: [n] int32.
    order: [steps, batch size], rows of each step.
    standard: From `moments`.
    learning_rates: [G], peaks.
    weight_decays: [G], weights of half the squared norm of the weights.
    classes: C.
    mesh: Of the devices; None: one device.
  """
  mesh = mesh or placed.one_device()
  steps, batch_size = order.shape
  count = len(learning_rates)
  # As many on each device; what is added is not looked at.
  places = np.arange(mesh.size * -(-count // mesh.size)).clip(max=count - 1)
  grid = [
    placed.split(np.asarray(values, np.float32)[places], mesh)
    for values in (learning_rates, weight_decays)
  ]
  on_devices = [placed.everywhere(values, mesh) for values in standard]
  shape = len(places), x.shape[1], classes
  state = _start(mesh=mesh, shape=shape, steps=steps)
  at_once = min(steps, max(1, _TRAINED_ON // batch_size))
  for start in range(0, steps, at_once):
    rows = np.zeros((at_once, batch_size), order.dtype)
    some = order[start : start + at_once]
    rows[: len(some)] = some
    batches = [placed.everywhere(a[rows], mesh) for a in (x, y)]
    # No more batches than these wait on the devices.
    jax.block_until_ready(state)
    state = _train(
      state,
      *batches,
      np.int32(len(some)),
      *on_devices,
      *grid,
      mesh=mesh,
      steps=steps,
    )
  weights, bias = placed.fetched(state[0], mesh)
  return LinearClassifiers(*standard, weights[:count], bias[:count])


def _optimizer(
  learning_rate: jax.typing.ArrayLike, steps: int
) -> optax.GradientTransformation:
  schedule = optax.cosine_decay_schedule(learning_rate, steps)
  return optax.sgd(schedule, momentum=0.9, nesterov=True)


@functools.partial(jax.jit, static_argnames=("mesh", "shape", "steps"))
def _start(*, mesh: Mesh, shape: tuple[int, int, int], steps: int) -> Any:
  count, dim, classes = shape
  params = jnp.zeros((count, dim, classes)), jnp.zeros((count, classes))
  state = params, jax.vmap(_optimizer(0.0, steps).init)(params)
  by_classifier = NamedSharding(mesh, placement.EXAMPLES)
  return jax.lax.with_sharding_constraint(state, by_classifier)


@functools.partial(jax.jit, donate_argnums=0, static_argnames=("mesh", "steps"))
def _train(
  state: Any,
  x: jax.Array,
  y: jax.Array,
  count: jax.Array,
  mean: jax.Array,
  std: jax.Array,
  learning_rates: jax.Array,
  weight_decays: jax.Array,
  *,
  mesh: Mesh,
  steps: int,
) -> Any:
  """State of classifiers after the first `count` of x [S, B, D], y [S, B]."""

  def train_one(
    state: Any,
    learning_rate: jax.Array,
    weight_decay: jax.Array,
    x: jax.Array,
    y: jax.Array,
    count: jax.Array,
  ) -> Any:
    tx = _optimizer(learning_rate, steps)

    def loss(params: _Params, i: jax.Array) -> jax.Array:
      logits = _logits(*params, (x[i] - mean) / std)
      entropy = optax.softmax_cross_entropy_with_integer_labels(logits, y[i])
      return entropy.mean() + weight_decay / 2 * (params[0] ** 2).sum()

    def step(i: jax.Array, state: Any) -> Any:
      params, opt_state = state
      updates, opt_state = tx.update(jax.grad(loss)(params, i), opt_state)
      return optax.apply_updates(params, updates), opt_state

    return jax.lax.fori_loop(0, count, step, state)

  split, whole = placement.EXAMPLES, P()
  train_some = jax.shard_map(
    jax.vmap(train_one, (0, 0, 0, None, None, None)),
    mesh=mesh,
    in_specs=(split, split, split, whole, whole, whole),
    out_specs=split,
    check_vma=False,
  )
  return train_some(state, learning_rates, weight_decays, x, y, count)


@jax.jit
def _score(
  classifiers: LinearClassifiers,
  x: jax.Array,
  y: jax.Array,
  counted: jax.Array,
) -> jax.Array:
  """How many are right, and the sum of cross entropies: [2, G]."""
  x = (x - classifiers.mean) / classifiers.std

  def score_one(params: _Params) -> jax.Array:
    logits = _logits(*params, x)
    # A class that was never trained has no logit.
    known = jax.nn.one_hot(y, logits.shape[1])
    loss = -(known * jax.nn.log_softmax(logits)).sum(-1)
    right = logits.argmax(-1) == y
    sums = [
      jnp.where(counted, v, 0).sum(dtype=jnp.float32) for v in (right, loss)
    ]
    return jnp.stack(sums)

  return jax.lax.map(score_one, (classifiers.weights, classifiers.bias)).T


@jax.jit
def _predict(classifiers: LinearClassifiers, x: jax.Array) -> jax.Array:
  x = (x - classifiers.mean) / classifiers.std
  first = _logits(classifiers.weights[0], classifiers.bias[0], x)
  return first.argmax(-1).astype(jnp.int32)


def _logits(weights: jax.Array, bias: jax.Array, x: jax.Array) -> jax.Array:
  # The same number on every kind of device.
  return jnp.matmul(x, weights, precision="highest") + bias
