import jax
import numpy as np
import pytest

from d2v_jax.models.positions import alibi_slopes
from d2v_jax.models.speech import speech
from d2v_jax.models.text import text
from d2v_jax.models.visible import drop_path_rates
from d2v_jax.models.visible_speech import visible_speech
from d2v_jax.models.visible_text import visible_text
from d2v_jax.models.visible_vision import visible_vit
from d2v_jax.models.vision import vit

LAYERS = ((16, 10, 5), (16, 3, 2), (16, 2, 2))
SMALL = {"width": 16, "num_heads": 2, "prenet_depth": 1, "depth": 2}


def images(**changes):
  options = {"image_size": 12, "patch_size": 4}
  network = visible_vit(**{**options, **SMALL, **changes})
  x = np.random.default_rng(0).normal(size=(2, 12, 12, 3))
  return network, {"inputs": x.astype(np.float32)}


def sounds(**changes):
  options = {
    "conv_layers": LAYERS,
    "position_depth": 2,
    "position_width": 10,
    "position_groups": 4,
  }
  network = visible_speech(**{**options, **SMALL, **changes})
  x = np.random.default_rng(0).normal(size=(2, 400)).astype(np.float32)
  return network, {"inputs": x}


def words(**changes):
  options = {"vocab_size": 30, "max_tokens": 12}
  network = visible_text(**{**options, **SMALL, **changes})
  return network, {"inputs": np.arange(24).reshape(2, 12)}


def drawn(network, batch, seed=0):
  rng = np.random.default_rng(seed)
  shapes = jax.eval_shape(network.init, jax.random.key(0), batch)
  return jax.tree.map(
    lambda s: (0.3 * rng.normal(size=s.shape)).astype(np.float32), shapes
  )


def test_slopes():
  assert alibi_slopes(16).tolist() == [2 ** (-(h + 1) / 2) for h in range(16)]
  expected = [2.0**-i for i in range(1, 9)]
  expected += [0.70711, 0.35355, 0.17678, 0.08839]
  np.testing.assert_allclose(alibi_slopes(12), expected, atol=1e-5)


@pytest.mark.parametrize(
  "make",
  [images, *(pytest.param(x, marks=pytest.mark.slow) for x in (sounds, words))],
)
def test_all_tokens_kept_is_the_whole_input(make):
  network, batch = make(alibi=True)
  params = drawn(network, batch)
  call = jax.jit(network.__call__)
  whole = call(params, batch)
  length = whole.tokens.shape[1]
  every = np.broadcast_to(np.arange(length), (2, 3, length))
  kept = call(params, batch, keep_ids=every)
  for name in ("tokens", "ffn", "block", "attention"):
    one, other = getattr(whole, name), getattr(kept, name)
    axis = one.ndim - 3
    np.testing.assert_allclose(
      np.repeat(one, 3, axis=axis), other, atol=2e-5, err_msg=name
    )


@pytest.mark.slow
def test_rows_are_of_the_same_example_next_to_each_other():
  network, batch = images()
  params = drawn(network, batch)
  ids = np.array([[[0, 1, 4], [2, 3, 8]], [[1, 5, 7], [0, 6, 8]]])
  output = jax.jit(network.__call__)(params, batch, keep_ids=ids)
  assert output.tokens.shape == (4, 3, 16)
  assert output.cls.shape == (4, 16)
  assert output.block_cls.shape == (2, 4, 16)
  one = jax.jit(network.__call__)
  for b in range(2):
    for m in range(2):
      alone = {"inputs": batch["inputs"][b : b + 1]}
      single = one(params, alone, keep_ids=ids[b : b + 1, m : m + 1])
      row = 2 * b + m
      np.testing.assert_allclose(
        single.tokens[0], output.tokens[row], atol=1e-5
      )
      np.testing.assert_allclose(single.cls[0], output.cls[row], atol=1e-5)


def test_sub_trees():
  def names(made):
    return set(jax.eval_shape(made[0].init, jax.random.key(0), made[1]))

  common = {"feature_encoder", "blocks"}
  normed = common | {"prenet_norm"}
  heard = normed | {"feature_projection", "positions"}
  read = common | {"position_embedding", "embedding_norm"}
  assert names(images()) == normed | {"prenet", "cls_token"}
  assert names(images(prenet_depth=0, cls_token=False)) == normed
  assert names(images(alibi=True)) >= {"alibi_scale"}
  assert names(sounds(prenet_depth=0)) == heard | {"alibi_scale"}
  assert names(sounds(alibi=False)) == heard | {"prenet"}
  assert names(words()) == read | {"prenet_norm", "prenet"}
  assert names(words(prenet_depth=0)) == read


@pytest.mark.slow
def test_initial_values():
  network, batch = images(width=256, cls_token=True)
  params = jax.jit(network.init)(jax.random.key(0), batch)
  np.testing.assert_allclose(params["cls_token"].std(), 1.0, rtol=0.2)
  proj = params["feature_encoder"]["proj"]
  fan_in = 4 * 4 * 3
  xavier = (6 / (fan_in + 256)) ** 0.5
  for leaf, bound in ((proj["kernel"], xavier), (proj["bias"], fan_in**-0.5)):
    assert np.abs(leaf).max() <= bound
    np.testing.assert_allclose(leaf.std(), bound / 3**0.5, rtol=0.1)
  for part in ("prenet", "blocks"):
    kernels = [
      params[part]["attention"]["qkv"]["kernel"],
      params[part]["attention"]["out"]["kernel"],
      params[part]["mlp"]["fc2"]["kernel"],
    ]
    for kernel in kernels:
      np.testing.assert_allclose(kernel.std(), 0.02, rtol=0.05)
    assert not params[part]["attention"]["k_bias"].any()
  network, batch = sounds()
  params = jax.jit(network.init)(jax.random.key(0), batch)
  assert params["alibi_scale"].tolist() == [1.0, 1.0]


@pytest.mark.slow
def test_a_mask_in_fine_tuning_is_noise():
  network, batch = sounds(prenet_depth=0, depth=1)
  params = drawn(network, batch)
  length = network(params, batch).tokens.shape[1]
  mask = np.zeros((2, length), bool)
  mask[:, 4:9] = True
  call = jax.jit(network.__call__)
  features = network.encode_features(params, batch)
  other = np.where(mask[..., None], 9.0, features)
  silent = call(params, batch, mask=mask, features=features).tokens
  np.testing.assert_array_equal(
    silent, call(params, batch, mask=mask, features=other).tokens
  )
  zeroed = np.where(mask[..., None], 0.0, features)
  np.testing.assert_allclose(
    silent, call(params, batch, features=zeroed).tokens, atol=1e-6
  )
  noisy = call(params, batch, mask=mask, features=other, rng=jax.random.key(0))
  assert 0 < np.abs(noisy.tokens - silent).max() < 0.5
  channels = np.zeros((2, 16), bool)
  channels[:, :3] = True
  masked = {**batch, "channel_mask": channels}
  expected = np.where(channels[:, None], 0.0, zeroed)
  np.testing.assert_allclose(
    call(params, masked, mask=mask, features=features).tokens,
    call(params, batch, features=expected).tokens,
    atol=1e-6,
  )


def test_the_first_token_of_a_text_is_its_cls():
  network, batch = words()
  params = drawn(network, batch)
  output = jax.jit(network.__call__)(params, batch)
  np.testing.assert_array_equal(output.cls, output.tokens[:, 0])
  np.testing.assert_array_equal(output.block_cls, output.block[:, :, 0])
  ids = np.array([[[1, 2]], [[3, 4]]])
  assert network(params, batch, keep_ids=ids).cls is None


def test_negative_scales_are_none():
  network, batch = images(alibi=True)
  params = drawn(network, batch)
  call = jax.jit(network.__call__)

  def tokens(scale):
    scale = np.full(2, scale, np.float32)
    return call({**params, "alibi_scale": scale}, batch).tokens

  np.testing.assert_array_equal(tokens(-1.0), tokens(0.0))
  assert not np.array_equal(tokens(0.0), tokens(1.0))


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["dots", "full"])
def test_recomputed_activations_change_nothing(policy):
  def gradient(remat):
    network, batch = images(remat=remat)
    params = drawn(network, batch)
    return jax.jit(jax.grad(lambda p: network(p, batch).tokens.var()))(params)

  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6),
    gradient("none"),
    gradient(policy),
  )


def test_rates_of_drop_path():
  before, after = drop_path_rates(2, 10, 0.18)
  np.testing.assert_allclose(before, [0.0, 0.02], atol=1e-6)
  np.testing.assert_allclose(after, np.linspace(0.04, 0.18, 10), atol=1e-6)
  before, after = drop_path_rates(0, 3, 0.2)
  assert before.size == 0
  np.testing.assert_allclose(after, [0.0, 0.1, 0.2], atol=1e-6)
  before, after = drop_path_rates(4, 2, 0.2)
  np.testing.assert_allclose(before[[0, -1]], [0.0, 0.0])
  np.testing.assert_allclose(after, [0.2, 0.2], atol=1e-6)


def test_raw_targets_are_the_prepared_input():
  network, _ = images(mean=(0.5,), std=(0.25,))
  raw = np.random.default_rng(0).integers(0, 256, (2, 12, 12, 3), np.uint8)
  targets = network.raw_targets({"inputs": raw})
  assert targets.shape == (2, 9, 48)
  # The fourth patch is the first of the second row.
  patch = (raw[1, 4:8, 0:4] / 255.0 - 0.5) / 0.25
  np.testing.assert_allclose(targets[1, 3], patch.reshape(-1), atol=1e-6)
  network, batch = sounds()
  params = drawn(network, batch)
  tokens = network(params, batch).tokens
  assert network.raw_targets(batch).shape == (2, tokens.shape[1], 80)
  assert words()[0].raw_targets is None


@pytest.mark.parametrize("constructor", [vit, speech, text])
def test_version_1_needs_all_tokens(constructor):
  network = constructor()
  ids = np.zeros((1, 1, 3), int)
  message = r"cannot take keep_ids; set encoder\.name to .*visible_vit"
  with pytest.raises(ValueError, match=message):
    network({}, network.inputs.example(), keep_ids=ids)


@pytest.mark.parametrize(
  ("given", "message"),
  [
    ({"mask": np.zeros((2, 8), bool)}, r"mask \(2, 8\) does not fit the 9"),
    ({"keep_ids": np.zeros((2, 3), int)}, r"keep_ids \(2, 3\) .* \[B, M, V\]"),
  ],
)
def test_arrays_that_do_not_fit(given, message):
  network, batch = images()
  params = drawn(network, batch)
  with pytest.raises(ValueError, match=message):
    network(params, batch, **given)
