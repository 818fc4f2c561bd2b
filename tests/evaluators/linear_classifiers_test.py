import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from d2v_jax.evaluators import linear_classifiers
from d2v_jax.evaluators.linear_classifiers import (
  LinearClassifiers,
  moments,
  score,
  train,
)
from d2v_jax.models.hardware import placement
from d2v_jax.training.sharding import make_mesh


def make(n=20_000):
  rng = np.random.default_rng(0)
  shapes = {"mean": (3,), "weights": (2, 3, 4), "bias": (2, 4)}
  arrays = {k: rng.normal(size=s) for k, s in shapes.items()}
  arrays["std"] = np.array([0.5, 1.0, 2.0])
  classifiers = LinearClassifiers(
    **{k: jnp.asarray(v, "f4") for k, v in arrays.items()}
  )
  x = rng.normal(size=(n, 3)).astype(np.float32)
  return classifiers, x, rng.integers(0, 4, n).astype(np.int32)


@pytest.mark.parametrize("devices", [None, 8])
def test_equals_numpy_in_several_chunks(devices):
  classifiers, x, y = make()
  mesh = devices and make_mesh(devices)
  accuracy, loss = score(classifiers, x, y, mesh=mesh)
  mean, std, weights, bias = (np.asarray(a, np.float64) for a in classifiers)
  for g in range(2):
    logits = (x - mean) / std @ weights[g] + bias[g]
    entropy = np.log(np.exp(logits).sum(1)) - logits[np.arange(len(y)), y]
    assert accuracy[g] == np.mean(logits.argmax(1) == y)
    np.testing.assert_allclose(loss[g], entropy.mean(), rtol=1e-5)


def test_class_that_was_not_trained_is_a_mistake():
  classifiers, x, y = make(10)
  accuracy, _ = score(classifiers, x, y * 0 + 7)
  assert accuracy.tolist() == [0, 0]


def test_diverged_classifier():
  classifiers, x, y = make(10)
  classifiers = classifiers._replace(bias=classifiers.bias.at[0].set(jnp.nan))
  accuracy, loss = score(classifiers, x, y * 0)
  assert (accuracy[0], loss[0]) == (0, np.inf)
  assert np.isfinite(loss[1])


@pytest.mark.parametrize("devices", [None, 8])
def test_some_rows(devices):
  classifiers, x, y = make(100)
  rows = np.random.default_rng(0).permutation(100)[:37]
  scores = score(classifiers, x, y, rows, devices and make_mesh(devices))
  for some, expected in zip(
    scores, score(classifiers, x[rows], y[rows]), strict=True
  ):
    np.testing.assert_allclose(some, expected, rtol=1e-6)


def test_moments_of_many_rows_equal_numpy():
  x = 1000 + np.random.default_rng(0).normal(size=(20_000, 3))
  x = x.astype(np.float32)
  x[:, 1] = 0.1
  rows = np.random.default_rng(1).permutation(len(x))[:17_000]
  for some in (None, rows):
    exact = x.astype(float) if some is None else x[some].astype(float)
    mean, std = moments(x, some)
    np.testing.assert_allclose(mean, exact.mean(0), rtol=1e-7)
    np.testing.assert_allclose(std[[0, 2]], exact.std(0)[[0, 2]], rtol=1e-6)
    assert std[1] == 1
    assert mean.dtype == std.dtype == np.float32


RATES = np.array([0.3, 0.1, 0.03], np.float32)
DECAYS = np.array([0, 1e-3, 1e-2], np.float32)


def some_training(mesh):
  """Of three classifiers, 21 steps of 8 rows."""
  rng = np.random.default_rng(0)
  x = rng.normal(size=(60, 5)).astype(np.float32)
  y = rng.integers(0, 4, 60).astype(np.int32)
  order = rng.integers(0, 60, (21, 8))
  options = {"classes": 4, "mesh": mesh}
  return x, y, order, train(x, y, order, moments(x), RATES, DECAYS, **options)


def trained_by_numpy(x, y, order, rate, decay):
  """SGD with Nesterov momentum and a cosine, in float64."""
  x = (x.astype(float) - x.mean(0, dtype=float)) / x.std(0, dtype=float)
  weights, bias = np.zeros((5, 4)), np.zeros(4)
  speeds = [np.zeros((5, 4)), np.zeros(4)]
  for i, rows in enumerate(order):
    scores = np.exp(x[rows] @ weights + bias)
    error = scores / scores.sum(1, keepdims=True) - np.eye(4)[y[rows]]
    error /= len(rows)
    grads = [x[rows].T @ error + decay * weights, error.sum(0)]
    now = rate * (1 + np.cos(np.pi * i / len(order))) / 2
    speeds = [0.9 * v + g for v, g in zip(speeds, grads, strict=True)]
    weights -= now * (grads[0] + 0.9 * speeds[0])
    bias -= now * (grads[1] + 0.9 * speeds[1])
  return weights, bias


@pytest.mark.parametrize("devices", [None, 2, 8])
@pytest.mark.parametrize("at_once", [8, 40, 2**13])
def test_training_equals_numpy(devices, at_once, monkeypatch):
  monkeypatch.setattr(linear_classifiers, "_TRAINED_ON", at_once)
  x, y, order, trained = some_training(devices and make_mesh(devices))
  assert trained.weights.shape == (3, 5, 4)
  for g in range(3):
    weights, bias = trained_by_numpy(x, y, order, RATES[g], DECAYS[g])
    np.testing.assert_allclose(trained.weights[g], weights, atol=1e-5)
    np.testing.assert_allclose(trained.bias[g], bias, atol=1e-5)


def test_training_shares_classifiers_out_and_exchanges_nothing():
  mesh = make_mesh(8)

  def shape(dims, dtype, *spec):
    sharding = NamedSharding(mesh, P(*spec))
    return jax.ShapeDtypeStruct(dims, dtype, sharding=sharding)

  make_state = linear_classifiers._start
  state = jax.eval_shape(
    lambda: make_state(mesh=mesh, shape=(24, 768, 1000), steps=2000)
  )
  split = placement.EXAMPLES
  program = linear_classifiers._train.lower(
    jax.tree.map(lambda s: shape(s.shape, s.dtype, *split), state),
    shape((16, 512, 768), "float32"),
    shape((16, 512), "int32"),
    shape((), "int32"),
    shape((768,), "float32"),
    shape((768,), "float32"),
    shape((24,), "float32", *split),
    shape((24,), "float32", *split),
    mesh=mesh,
    steps=2000,
  ).compile()
  assert "all-" not in program.as_text()
  memory = program.memory_analysis()
  # Three of 24 classifiers with their momentum are 18 MB, the batches 25 MB.
  assert memory.argument_size_in_bytes < 50e6
  assert memory.temp_size_in_bytes < 50e6
