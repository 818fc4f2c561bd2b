import jax
import jax.numpy as jnp
import numpy as np
import pytest

from d2v_jax import config_file
from d2v_jax.training import build
from d2v_jax.training.compiled_step import CompiledStep
from d2v_jax.training.step import gradients
from d2v_jax.training.trouble.first_nonfinite import find


def attention(x, factor):
  """Layers that hide by -inf, as attention does, and end in a logarithm."""

  def layer(x, factor):
    hidden = jnp.where(jnp.tri(len(x)) > 0, x @ x.T, -jnp.inf)
    x = jax.nn.softmax(hidden) @ x
    return jnp.log(x * factor), x.sum()

  return jax.lax.scan(layer, x, factor)[0]


def test_infinities_that_lead_to_nothing_are_not_the_cause():
  x = jnp.ones((3, 2))
  assert find(attention, {"x": x, "factor": jnp.full(3, 30.0)}) is None
  found = find(attention, {"x": x, "factor": jnp.array([30.0, -1.0, 30.0])})
  assert (found.kind, found.operation) == ("NaN", "log")
  assert (found.layers, found.backward) == ((1,), False)
  assert (found.shape, found.rows) == ((3, 2), (0, 1, 2))
  assert found.because is None


def test_a_row_that_hides_everything_is_one():
  def weights(x):
    return jax.nn.softmax(jnp.where(x > 0, x, -jnp.inf))

  x = jnp.ones((4, 2)).at[2].set(-1)
  found = find(weights, {"x": x})
  assert (found.kind, found.operation, found.rows) == ("NaN", "sub", (2,))
  assert found.because.kind == "infinity"


def test_gradients_have_causes_of_their_own():
  def slope(x):
    return jax.value_and_grad(lambda x: jnp.sqrt(x).sum())(x)

  found = find(slope, {"x": jnp.array([1.0, 0.0, 4.0])})
  # By jvp and its transpose: 1 / (2 sqrt(x)) is made on the way forward.
  assert (found.kind, found.operation, found.rows) == ("infinity", "div", (1,))

  def product(x):
    return jax.value_and_grad(lambda x: (jnp.prod(x * 1e-30) * 1e38).sum())(x)

  assert find(product, {"x": jnp.ones(2)}) is None


def test_what_is_given_may_be_the_cause():
  batch = {"inputs": jnp.ones((4, 2)).at[1, 1].set(jnp.nan)}
  found = find(lambda batch: batch["inputs"] @ jnp.ones(2), {"batch": batch})
  assert (found.operation, found.module) == ("input", "batch/inputs")
  assert (found.order, found.rows) == (0, (1,))


@pytest.fixture(scope="module")
def small():
  """Arguments of `gradients` of a small ViT, and what they are of."""
  config = config_file.load("tests/configs/tiny.py")
  run = build.from_config(config)
  made = CompiledStep(run, run.example_batch)
  batch = {
    key: np.zeros(s.shape, s.dtype) for key, s in run.example_batch.items()
  }
  state = jax.jit(made.create)(made.rng, batch)
  return run.objective, {
    "params": state.params,
    "teacher_params": state.teacher_params,
    "batch": {**batch, "inputs": batch["inputs"] + 1},
    "rng": made.rng,
  }


def changed(params, path, change):
  """Parameters with one array that is not as the others."""
  name, *rest = path.split("/")
  part = change(params[name]) if not rest else None
  return {
    **params,
    name: part
    if part is not None
    else changed(params[name], "/".join(rest), change),
  }


@pytest.mark.slow
def test_the_module_and_the_layer_are_named(small):
  objective, arguments = small

  def of_step(**arguments):
    return gradients(**arguments, objective=objective, accumulate=2)

  # The second of two layers overflows, in the student alone. The first product
  # is of normalised inputs, which sum to 0.
  params = changed(
    arguments["params"], "blocks/mlp/fc1/kernel", lambda x: x.at[1].set(3e38)
  )
  found = find(of_step, {**arguments, "params": params})
  assert found.module == "blocks/mlp/fc2"
  assert found.layers == (0, 1)  # of the first micro-batch
  assert (found.backward, found.operation) == (False, "dot_general")
  assert found.shape[0] == 8
