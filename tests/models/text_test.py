import jax
import jax.numpy as jnp
import numpy as np
import pytest

from d2v_jax.models.heads import RegressionHead
from d2v_jax.models.text import text
from d2v_jax.models.token_embedding import token_positions
from d2v_jax.objectives.data2vec import Data2Vec
from d2v_jax.objectives.ema import Ema
from d2v_jax.objectives.targets import Targets

TINY = {
  "vocab_size": 30,
  "max_tokens": 12,
  "width": 16,
  "depth": 2,
  "num_heads": 2,
}
TOKENS = np.array([[0, 5, 6, 7, 8, 2], [0, 9, 10, 2, 1, 1]], np.int32)


def make(**changes):
  network = text(**{**TINY, **changes})
  params = jax.jit(network.init)(jax.random.key(0), {"inputs": TOKENS})
  # Visible differences between positions and tokens.
  return network, jax.tree.map(lambda x: 3 * x, params)


def test_positions_count_real_tokens():
  padding = jnp.asarray(TOKENS == 1)
  assert token_positions(padding).tolist() == [
    [2, 3, 4, 5, 6, 7],
    [2, 3, 4, 5, 1, 1],
  ]


@pytest.mark.slow
def test_padding_changes_nothing():
  network, params = make()
  goal = Data2Vec(
    encoder=network,
    head=RegressionHead(2, initial="normal"),
    ema=Ema(tracked=("blocks",)),
    targets=Targets(2, "ffn", ("instance",)),
  )
  params["head"] = goal.head.init(jax.random.key(1), jnp.zeros((1, 1, 16)))
  teacher = goal.init_teacher(params)
  mask = np.zeros(TOKENS.shape, bool)
  mask[:, 1:3] = True
  short = {"inputs": TOKENS, "mask": mask}
  long = {
    "inputs": np.pad(TOKENS, ((0, 0), (0, 4)), constant_values=1),
    "mask": np.pad(mask, ((0, 0), (0, 4))),
  }

  @jax.jit
  def compute(batch):
    output = network(params, batch)
    targets = goal.teacher_targets(params, teacher, batch)
    loss = goal.loss(params, teacher, batch, None).value
    return output.tokens, targets, loss

  for one, other in zip(compute(short), compute(long), strict=True):
    if one.ndim:
      other = other[:, : one.shape[1]]
    real = (TOKENS != 1) if one.ndim else ...
    np.testing.assert_allclose(
      np.asarray(one)[real], np.asarray(other)[real], atol=1e-5
    )
  alone = {k: v[1:, :4] for k, v in short.items()}
  for one, other in zip(compute(alone)[:2], compute(short)[:2], strict=True):
    np.testing.assert_allclose(one, other[1:, :4], atol=1e-5)


def test_what_the_student_sees():
  network, params = make()
  mask = np.zeros(TOKENS.shape, bool)
  mask[:, 2] = True
  shown = TOKENS.copy()
  shown[:, 2] = 29
  hidden = network(params, {"inputs": TOKENS}, mask=mask).tokens
  np.testing.assert_array_equal(
    hidden, network(params, {"inputs": shown}).tokens
  )
  # Of two inputs the student's counts, and only with a mask.
  replaced = shown.copy()
  replaced[:, 1] = 20
  both = {"inputs": TOKENS, "student_inputs": replaced}
  np.testing.assert_array_equal(
    network(params, both, mask=mask).tokens,
    network(params, {"inputs": replaced}).tokens,
  )
  np.testing.assert_array_equal(
    network(params, both).tokens, network(params, {"inputs": TOKENS}).tokens
  )


def test_first_token_is_cls():
  network, params = make()
  output = network(params, {"inputs": TOKENS})
  np.testing.assert_array_equal(output.cls, output.tokens[:, 0])
  np.testing.assert_array_equal(output.block_cls, output.block[:, :, 0])
  np.testing.assert_array_equal(output.block[-1], output.tokens)


def test_no_gradient_reaches_padding():
  network, params = make()
  grads = jax.jit(
    jax.grad(
      lambda p: jnp.square(
        jnp.where(
          (TOKENS == 1)[..., None],
          0,
          network(p, {"inputs": TOKENS}).tokens,
        )
      ).sum()
    )
  )(params)
  assert not np.any(grads["feature_encoder"]["embedding"][1])
  assert not np.any(grads["position_embedding"][:2])
  assert np.any(grads["position_embedding"][2])


def test_initial_values():
  network = text(vocab_size=500, width=256, depth=2, num_heads=4)
  params = jax.jit(network.init)(jax.random.key(0), {"inputs": TOKENS})
  table = params["feature_encoder"]["embedding"]
  positions = params["position_embedding"]
  assert positions.shape == (514, 256)
  for x in (table, positions):
    assert not np.any(x[1])
    np.testing.assert_allclose(x[2:].std(), 0.02, rtol=0.02)
  for module, name in (("attention", "out"), ("mlp", "fc1")):
    kernel = params["blocks"][module][name]["kernel"]
    np.testing.assert_allclose(kernel.std(), 0.02, rtol=0.02)


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"num_heads": 3}, "width 16 is not a multiple of num_heads 3"),
    ({"positions": "none"}, "unknown positions 'none'; choose one of: learned"),
    ({"dropout": -0.1}, r"dropout must be in \[0, 1\), got -0.1"),
  ],
)
def test_wrong_arguments(changes, message):
  with pytest.raises(ValueError, match=message):
    text(**{**TINY, **changes})


@pytest.mark.parametrize(
  ("inputs", "message"),
  [
    (np.zeros((2, 4), np.float32), r"must be token ids \[B, N\], got float32"),
    (np.zeros((2, 13), np.int32), "13 tokens, more than encoder.max_tokens=12"),
  ],
)
def test_wrong_inputs(inputs, message):
  network, params = make()
  with pytest.raises(ValueError, match=message):
    network(params, {"inputs": inputs})
