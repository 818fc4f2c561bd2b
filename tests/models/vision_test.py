import jax
import jax.numpy as jnp
import numpy as np
import pytest

from d2v_jax.models import transformer
from d2v_jax.models.attention.attention_bias import AttentionBias
from d2v_jax.models.positions import relative_position_index
from d2v_jax.models.vision import vit

TINY = {
  "image_size": 8,
  "patch_size": 4,
  "width": 16,
  "depth": 2,
  "num_heads": 2,
}


def images(dtype=np.float32, channels=3):
  x = np.random.default_rng(0).integers(0, 256, (2, 8, 8, channels), np.uint8)
  return {"inputs": x.astype(dtype)}


def test_relative_position_index_by_hand():
  expected = [
    [11, 9, 9, 9, 9],
    [10, 4, 3, 1, 0],
    [10, 5, 4, 2, 1],
    [10, 7, 6, 4, 3],
    [10, 8, 7, 5, 4],
  ]
  assert relative_position_index((2, 2)).tolist() == expected


def test_initial_values():
  network = vit(
    image_size=32,
    patch_size=8,
    width=256,
    depth=4,
    num_heads=4,
    layer_scale=1e-4,
  )
  batch = {"inputs": jnp.zeros((1, 32, 32, 3))}
  params = jax.jit(network.init)(jax.random.key(0), batch)
  blocks = params["blocks"]
  for kernel in (
    blocks["attention"]["qkv"]["kernel"],
    blocks["mlp"]["fc1"]["kernel"],
    params["feature_encoder"]["proj"]["kernel"],
    params["cls_token"],
    params["mask_token"],
  ):
    assert np.abs(kernel).max() <= 0.02
    # The std of a normal cut at one sigma is 0.5396 sigma.
    tolerance = 4 * 0.0108 / np.sqrt(2 * kernel.size)
    np.testing.assert_allclose(kernel.std(), 0.5396 * 0.02, atol=tolerance)
  for kernel in (
    blocks["attention"]["out"]["kernel"],
    blocks["mlp"]["fc2"]["kernel"],
  ):
    stds = kernel.std((1, 2)) * np.sqrt(2 * np.arange(1, 5))
    np.testing.assert_allclose(stds, 0.5396 * 0.02, rtol=0.02)
  np.testing.assert_allclose(blocks["gamma_ffn"], 1e-4, rtol=1e-6)
  zeros = [blocks["attention"]["q_bias"], blocks["mlp"]["fc1"]["bias"]]
  zeros.append(params["relative_position_bias"]["table"])
  assert not any(np.any(z) for z in zeros)
  assert "k_bias" not in blocks["attention"]


def test_uint8_images_are_normalised_on_the_device():
  mean, std = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
  network = vit(**TINY, mean=mean, std=std)
  raw = images(np.uint8)
  params = network.init(jax.random.key(0), raw)
  scaled = (raw["inputs"] / 255.0 - mean) / std
  expected = network(params, {"inputs": scaled.astype(np.float32)}).tokens
  np.testing.assert_allclose(
    network(params, raw).tokens, expected, rtol=0, atol=1e-5
  )


def test_prepare_normalises_once():
  network = vit(**TINY, mean=(0.5, 0.4, 0.3), std=(0.25,))
  raw = {**images(np.uint8), "label": np.array([1, 2])}
  prepared = network.prepare(raw)
  expected = (raw["inputs"] / 255.0 - (0.5, 0.4, 0.3)) / 0.25
  assert prepared["inputs"].dtype == jnp.float32
  np.testing.assert_allclose(prepared["inputs"], expected, rtol=0, atol=1e-6)
  assert prepared["label"] is raw["label"]
  assert network.prepare(prepared)["inputs"] is prepared["inputs"]
  with pytest.raises(ValueError, match="mean has 3 values for 4 channels"):
    network.prepare(images(np.uint8, channels=4))


def test_a_relative_table_for_each_layer():
  # Outputs of order one, where rounding is far below the tolerance.
  batch = {"inputs": 0.05 * images()["inputs"]}
  shared = vit(**TINY, layer_scale=0.5)
  params = jax.jit(shared.init)(jax.random.key(0), batch)
  shape = params.pop("relative_position_bias")["table"].shape
  tables = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
  network = vit(**TINY, layer_scale=0.5, positions="relative_layers")
  fresh = jax.eval_shape(network.init, jax.random.key(0), batch)
  own = fresh["blocks"]["relative_position_bias"]
  assert jax.tree.map(jnp.shape, own) == {"table": (2, *shape)}

  def run(tables, remat="none"):
    blocks = {**params["blocks"], "relative_position_bias": {"table": tables}}
    encoder = vit(
      **TINY, layer_scale=0.5, positions="relative_layers", remat=remat
    )
    return encoder({**params, "blocks": blocks}, batch)

  output = jax.jit(run)(tables)
  # The first layer is that of the shared table; the second is a layer of its
  # own on top of it.
  first = shared(
    {**params, "relative_position_bias": {"table": tables[0]}}, batch
  )
  np.testing.assert_allclose(output.block[0], first.block[0], atol=1e-6)
  x = jnp.concatenate([output.block_cls[0][:, None], output.block[0]], 1)
  pairs = tables[1][relative_position_index((2, 2))].transpose(2, 0, 1)
  layer = transformer.Block(num_heads=2, hidden=64, layer_scale=0.5)
  second = jax.tree.map(lambda p: p[1], params["blocks"])
  bias = AttentionBias(pairs=pairs)
  (expected, _), _ = layer.apply(
    {"params": second}, (x, None), 0.0, 0, bias, None
  )
  np.testing.assert_allclose(output.block[1], expected[:, 1:], atol=1e-6)
  # Both learn, also where activations are computed again.
  gradients = [
    jax.jit(jax.grad(lambda t, r=remat: run(t, r).tokens.var()))(tables)
    for remat in ("none", "full")
  ]
  np.testing.assert_allclose(*gradients, rtol=1e-4, atol=1e-8)
  assert np.abs(gradients[0]).max((1, 2)).min() > 0


def test_without_the_final_norm():
  batch = images()
  network = vit(**TINY, final_norm=False)
  assert network.left_out == ("norm",)
  assert vit(**TINY).left_out == ()
  params = jax.jit(network.init)(jax.random.key(0), batch)
  assert "norm" not in params
  output = network(params, batch)
  np.testing.assert_array_equal(output.tokens, output.block[-1])
  np.testing.assert_array_equal(output.cls, output.block_cls[-1])


def test_no_rng_means_no_dropout():
  network = vit(**TINY, drop_path=0.5, attention_dropout=0.5)
  batch = images()
  params = network.init(jax.random.key(0), batch)
  plain = network(params, batch).tokens
  again = network(params, batch).tokens
  np.testing.assert_array_equal(plain, again)
  noisy = network(params, batch, rng=jax.random.key(1)).tokens
  assert np.any(noisy != plain)
  same = network(params, batch, rng=jax.random.key(1)).tokens
  np.testing.assert_array_equal(noisy, same)


def test_drop_path_drops_whole_branches_per_example():
  # The first layer's rate is 0, the second's nearly 1: its branches are gone.
  network = vit(**TINY, drop_path=0.999, layer_scale=0.0)
  batch = images()
  params = network.init(jax.random.key(0), batch)
  dropped = network(params, batch, rng=jax.random.key(0))
  plain = network(params, batch)
  np.testing.assert_array_equal(dropped.block[0], plain.block[0])
  np.testing.assert_array_equal(dropped.block[1], dropped.block[0])
  assert not np.any(dropped.ffn[1]) and not np.any(dropped.attention[1])


def test_drop_path_keeps_the_mean():
  network = vit(**TINY, drop_path=0.4, layer_scale=0.0)
  batch = {"inputs": np.repeat(images()["inputs"][:1], 4096, axis=0)}
  params = network.init(jax.random.key(0), batch)
  plain = network(params, batch).attention[1, 0]
  noisy = network(params, batch, rng=jax.random.key(0)).attention[1]
  kept = np.any(noisy != 0, axis=(1, 2)).mean()
  np.testing.assert_allclose(kept, 0.6, atol=4 * np.sqrt(0.24 / 4096))
  np.testing.assert_allclose(
    noisy.mean(0) / kept * 0.6, plain, rtol=0, atol=1e-6
  )


def test_layer_outputs_fit_together():
  network = vit(**TINY)
  batch = images()
  output = network(network.init(jax.random.key(0), batch), batch)
  np.testing.assert_allclose(
    output.block[0] + output.attention[1] + output.ffn[1],
    output.block[1],
    rtol=0,
    atol=1e-6,
  )
  assert output.block_cls.shape == (2, 2, 16)
  assert output.cls.shape == (2, 16)


def test_without_cls_token():
  network = vit(**TINY, cls_token=False)
  batch = images()
  params = network.init(jax.random.key(0), batch)
  assert "cls_token" not in params
  output = network(params, batch)
  assert output.cls is None and output.block_cls is None
  assert output.tokens.shape == (2, 4, 16)


def test_mask_token_replaces_masked_patches():
  network = vit(**TINY)
  batch = images()
  params = network.init(jax.random.key(0), batch)
  mask = np.array([[True, False, False, True], [False, True, True, False]])
  other = {"inputs": batch["inputs"].copy()}
  other["inputs"][0, :4, :4] = 9.0  # patch 0, which is masked
  for inputs, same in ((other, True), ({"inputs": batch["inputs"] + 1}, False)):
    a = network(params, batch, mask=mask).tokens
    b = network(params, inputs, mask=mask).tokens
    assert np.array_equal(a, b) == same


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"patch_size": 3}, "image_size 8 is not a multiple of patch_size 3"),
    ({"num_heads": 3}, "width 16 is not a multiple of num_heads 3"),
    ({"positions": "rope"}, "unknown positions 'rope'; choose one of: rel"),
    ({"final_norm": False, "pre_norm": False}, "final_norm=False needs pre_n"),
    ({"drop_path": 1.0}, r"drop_path must be in \[0, 1\), got 1.0"),
    ({"attention_dropout": -1}, r"attention_dropout must be in \[0, 1\)"),
  ],
)
def test_errors(options, message):
  with pytest.raises(ValueError, match=message):
    vit(**{**TINY, **options})


def test_input_errors():
  network = vit(**TINY)
  with pytest.raises(ValueError, match=r"\[B, 8, 8, C\] images, got \(2, 16"):
    network.init(jax.random.key(0), {"inputs": jnp.zeros((2, 16, 16, 3))})
  with pytest.raises(ValueError, match="mean has 3 values for 4 channels"):
    network.init(jax.random.key(0), images(np.uint8, channels=4))
  params = network.init(jax.random.key(0), images())
  with pytest.raises(ValueError, match=r"mask \(2, 5\) does not fit tokens"):
    network(params, images(), mask=np.zeros((2, 5), bool))


def test_sincos_needs_a_width():
  with pytest.raises(ValueError, match=r"vit: sincos .* multiple of 4, got 6"):
    vit(**{**TINY, "width": 6}, positions="sincos")
