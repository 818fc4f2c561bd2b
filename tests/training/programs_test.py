import jax
import jax.numpy as jnp

from d2v_jax.training.programs import Programs


def step(state, batch):
  product = state @ batch["x"]  # [2, 3] @ [3, n]
  return state + 1, {"loss": product.sum()}


def make():
  traces = []

  def counted(state, batch):
    traces.append(batch["x"].shape)
    return step(state, batch)

  jitted = jax.jit(counted, donate_argnums=0)
  state = jax.ShapeDtypeStruct((2, 3), jnp.float32)
  return Programs(jitted, state), traces


def ones(*shape):
  return jnp.ones(shape, jnp.float32)


def test_each_batch_meets_the_program_of_its_shape():
  programs, traces = make()
  state, losses = ones(2, 3), []
  for size in (4, 5, 4):
    state, values = programs(state, {"x": ones(3, size)})
    losses.append(float(values["loss"]))
  # The state is 1, 2 and 3 everywhere.
  assert losses == [24.0, 60.0, 72.0]
  assert traces == [(3, 4), (3, 5)]


def test_operations_of_each_shape():
  programs, _ = make()
  assert programs.operations({"x": ones(3, 4)}) == 2 * 2 * 3 * 4
  assert programs.operations({"x": ones(3, 5)}) == 2 * 2 * 3 * 5


def test_another_dtype_is_another_program():
  programs, traces = make()
  programs.operations({"x": ones(3, 4)})
  programs.operations({"x": ones(3, 4).astype(jnp.bfloat16)})
  assert len(traces) == 2


def test_the_state_is_donated():
  programs, _ = make()
  state = ones(2, 3)
  programs(state, {"x": ones(3, 4)})
  assert state.is_deleted()
