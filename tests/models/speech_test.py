import jax
import jax.numpy as jnp
import numpy as np
import pytest

from d2v_jax.data.layout import num_frames
from d2v_jax.models.heads import RegressionHead
from d2v_jax.models.speech import speech
from d2v_jax.objectives.data2vec import Data2Vec
from d2v_jax.objectives.ema import Ema
from d2v_jax.objectives.targets import Targets

LAYERS = ((16, 10, 5), (16, 3, 2), (16, 2, 2))
TINY = {
  "conv_layers": LAYERS,
  "width": 16,
  "depth": 2,
  "num_heads": 2,
  "position_depth": 3,
  "position_width": 15,
  "position_groups": 4,
}


def audio(lengths=(640, 640), seed=0):
  """A padded batch of noise with padding of frames."""
  rng = np.random.default_rng(seed)
  frames = num_frames(max(lengths), LAYERS)
  x = np.zeros((len(lengths), max(lengths)), np.float32)
  padding = np.zeros((len(lengths), frames), bool)
  for i, n in enumerate(lengths):
    x[i, :n] = rng.normal(size=n)
    padding[i, num_frames(n, LAYERS) :] = True
  return {"inputs": x, "padding": padding}


def make(**changes):
  """The network, as one compiled function, and parameters."""
  encoder = speech(**{**TINY, **changes})
  params = jax.jit(encoder.init)(jax.random.key(0), audio())
  return Compiled(encoder), randomised(params)


class Compiled:
  """An encoder whose calls are compiled, not operation by operation."""

  def __init__(self, encoder):
    self.encoder = encoder
    self.call = jax.jit(encoder.__call__)

  def __call__(self, params, batch, *, mask=None, rng=None, features=None):
    return self.call(params, batch, mask=mask, rng=rng, features=features)


def randomised(params):
  """Fresh parameters plus noise: biases and norms are not trivial any more."""
  leaves, tree = jax.tree.flatten(params)
  keys = jax.random.split(jax.random.key(7), len(leaves))
  noise = [
    0.3 * jax.random.normal(k, x.shape)
    for k, x in zip(keys, leaves, strict=True)
  ]
  return jax.tree.map(jnp.add, params, jax.tree.unflatten(tree, noise))


def objective(network, **changes):
  options = {
    "top_k": 2,
    "output": "ffn",
    "layer_norms": ("instance",),
    "average_norms": ("layer",),
  }
  return Data2Vec(
    encoder=network.encoder,
    head=RegressionHead(1),
    ema=Ema(tracked=("norm", "blocks")),
    targets=Targets(**{**options, **changes}),
    loss_beta=0.0,
    loss_scale="rsqrt",
  )


@pytest.mark.parametrize(
  "norms",
  [
    ("instance",),
    pytest.param(("batch",), marks=pytest.mark.slow),
    pytest.param(("layer",), marks=pytest.mark.slow),
  ],
)
def test_padding_changes_nothing(norms):
  network, params = make()
  goal = objective(network, layer_norms=norms)
  params["head"] = goal.head.init(jax.random.key(1), jnp.zeros((1, 1, 16)))
  teacher = goal.init_teacher(params)
  batch = audio((400, 400))
  n = batch["padding"].shape[1]
  batch["mask"] = np.zeros((2, n), bool)
  batch["mask"][:, 3:9] = True
  longer = {
    "inputs": np.pad(batch["inputs"], ((0, 0), (0, 240))),
    **{
      k: np.pad(batch[k], ((0, 0), (0, num_frames(640, LAYERS) - n)))
      for k in ("padding", "mask")
    },
  }
  longer["padding"][:, n:] = True

  @jax.jit
  def compute(batch):
    tokens = network(params, batch).tokens
    targets = goal.teacher_targets(params, teacher, batch)
    return tokens, targets, goal.loss(params, teacher, batch, None).value

  tokens, targets, loss = compute(batch)
  # More tokens of padding, and other batch mates.
  more_tokens, more_targets, more_loss = compute(longer)
  np.testing.assert_allclose(more_tokens[:, :n], tokens, atol=1e-5)
  np.testing.assert_allclose(more_targets[:, :n], targets, atol=1e-5)
  np.testing.assert_allclose(more_loss, loss, rtol=1e-5)
  if norms != ("batch",):
    alone = {k: v[:1] for k, v in batch.items()}
    np.testing.assert_allclose(compute(alone)[0], tokens[:1], atol=1e-5)
    np.testing.assert_allclose(compute(alone)[1], targets[:1], atol=1e-5)


def test_the_released_codes_padding_leaks():
  network, params = make(isolate_padding=False)
  batch, longer = audio((400,)), audio((400, 640))
  n = batch["padding"].shape[1]
  alone = network(params, batch).tokens[0]
  padded = network(params, longer).tokens[0, :n]
  assert np.abs(alone - padded).max() > 1e-3


def test_padding_without_norm_padding_is_left_out_by_hand():
  network, params = make()
  batch = audio((400, 640))
  n = num_frames(400, LAYERS)
  goal = objective(network, top_k=1, average_norms=())
  params["head"] = {}
  layer = np.asarray(network(params, batch).ffn[-1][0, :n], np.float64)
  expected = (layer - layer.mean(0)) / np.sqrt(layer.var(0) + 1e-5)
  teacher = goal.init_teacher(params)
  targets = jax.jit(goal.teacher_targets)(params, teacher, batch)
  np.testing.assert_allclose(targets[0, :n], expected, atol=1e-5)


def test_masked_frames_do_not_reach_the_student():
  network, params = make()
  batch = audio()
  mask = np.zeros(batch["padding"].shape, bool)
  mask[:, 4:] = True
  # Frame 4 begins at sample 4 * 20; its receptive field is behind that.
  other = {**batch, "inputs": batch["inputs"].copy()}
  other["inputs"][:, 4 * 20 :] = 1.0
  seen = num_frames(4 * 20, LAYERS)
  mask[:, seen:] = True
  one = network(params, batch, mask=mask).tokens
  two = network(params, other, mask=mask).tokens
  np.testing.assert_array_equal(one, two)
  assert not np.allclose(
    network(params, batch).tokens, network(params, other).tokens
  )


@pytest.mark.slow
def test_hidden_channels_are_zero_for_the_student_alone():
  network, params = make(depth=1)
  batch = audio((640,))
  batch["channel_mask"] = np.ones((1, 16), bool)
  mask = np.zeros(batch["padding"].shape, bool)
  silent = network(params, batch, mask=mask).tokens
  quiet = {**batch, "inputs": 0.5 * batch["inputs"]}
  np.testing.assert_array_equal(
    network(params, quiet, mask=mask).tokens, silent
  )
  without = {k: batch[k] for k in ("inputs", "padding")}
  np.testing.assert_array_equal(
    network(params, batch).tokens, network(params, without).tokens
  )


@pytest.mark.slow
@pytest.mark.parametrize("scale", [0.0, 0.1])
def test_feature_gradient_scale(scale):
  batch = audio()

  def gradient(scale):
    network, params = make(feature_grad_scale=scale)
    loss = jax.jit(
      jax.grad(lambda p: jnp.square(network(p, batch).tokens).sum())
    )
    return loss(params)

  whole, scaled = gradient(1.0), gradient(scale)
  for name in whole:
    factor = scale if name == "feature_encoder" else 1.0
    for a, b in zip(
      jax.tree.leaves(whole[name]), jax.tree.leaves(scaled[name]), strict=True
    ):
      np.testing.assert_allclose(b, factor * a, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_layer_drop_skips_whole_layers():
  network, params = make(depth=1, layer_drop=0.5)
  batch = audio((640,))
  always = make(depth=1)[0](params, batch).tokens
  outputs = [
    network(params, batch, rng=jax.random.key(i)).tokens for i in range(20)
  ]
  kept = [np.allclose(x, always, atol=1e-5) for x in outputs]
  assert 3 < sum(kept) < 17
  skipped = [x for x, k in zip(outputs, kept, strict=True) if not k]
  for x in skipped[1:]:
    np.testing.assert_array_equal(x, skipped[0])
  # The layer's input is the output of the norm before it.
  np.testing.assert_allclose(
    (skipped[0] - params["norm"]["bias"]) / params["norm"]["scale"],
    normalised(skipped[0], params["norm"]),
    atol=1e-4,
  )
  np.testing.assert_array_equal(network(params, batch).tokens, always)


def normalised(x, norm):
  y = (x - norm["bias"]) / norm["scale"]
  return (y - y.mean(-1, keepdims=True)) / y.std(-1, keepdims=True)


@pytest.mark.parametrize(
  "rate", ["dropout", "attention_dropout", "activation_dropout"]
)
def test_dropout_needs_a_key(rate):
  network, params = make(**{rate: 0.5})
  plain = make()[0](params, audio()).tokens
  np.testing.assert_array_equal(network(params, audio()).tokens, plain)
  dropped = network(params, audio(), rng=jax.random.key(0)).tokens
  assert np.abs(dropped - plain).max() > 1e-2


def test_initial_values():
  network = speech(
    conv_layers=((256, 10, 5), (256, 3, 2)),
    width=256,
    depth=2,
    num_heads=4,
    position_depth=2,
    position_width=38,
  )
  batch = {"inputs": np.zeros((1, 4000), np.float32)}
  params = jax.jit(network.init)(jax.random.key(0), batch)
  features, blocks = params["feature_encoder"], params["blocks"]
  projection = params["feature_projection"]["proj"]

  def check_std(x, std):
    np.testing.assert_allclose(x.std(), std, atol=4 * std / (2 * x.size) ** 0.5)

  check_std(features["conv1"]["kernel"], (2 / (3 * 256)) ** 0.5)
  check_std(blocks["attention"]["qkv"]["kernel"], 0.02)
  check_std(blocks["mlp"]["fc2"]["kernel"], 0.02)
  assert not np.any(blocks["attention"]["k_bias"])
  for x, fan_in in (
    (projection["kernel"], 256),
    (projection["bias"], 256),
    (params["positions"]["kernel0"], 19 * 16),
    (params["positions"]["bias1"], 19 * 16),
  ):
    assert 0.9 < np.abs(x).max() * fan_in**0.5 <= 1
  token = params["mask_token"]
  assert 0 <= token.min() < 0.1 < 0.9 < token.max() < 1


def test_weight_norm_begins_with_the_kernel_as_it_is():
  network = speech(**{**TINY, "position_depth": 1})
  params = jax.jit(network.init)(jax.random.key(0), audio())["positions"]
  norm = np.sqrt((np.asarray(params["kernel0"], np.float64) ** 2).sum((1, 2)))
  np.testing.assert_allclose(params["scale0"], norm, rtol=1e-6)


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"conv_norm": "batch"}, "unknown conv_norm 'batch'; choose one of: layer"),
    ({"num_heads": 3}, "width 16 is not a multiple of num_heads 3"),
    ({"position_groups": 5}, "not a multiple of position_groups 5"),
    ({"position_depth": 0}, "position_depth must be 1 or more, got 0"),
    ({"layer_drop": 1.0}, r"layer_drop must be in \[0, 1\), got 1.0"),
  ],
)
def test_wrong_arguments(changes, message):
  with pytest.raises(ValueError, match=message):
    speech(**{**TINY, **changes})


def test_wrong_inputs():
  network, params = make()
  with pytest.raises(ValueError, match=r"must be samples \[B, T\], got \(2, 3"):
    network(params, {"inputs": np.zeros((2, 3, 4), np.float32)})
  batch = {**audio(), "padding": np.zeros((2, 3), bool)}
  with pytest.raises(ValueError, match=r"padding \(2, 3\) does not fit"):
    network(params, batch)
