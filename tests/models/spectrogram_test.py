import jax
import numpy as np
import pytest

from d2v_jax.models import spectrogram, vision

SIZES = {"patch_size": 4, "width": 16, "depth": 2, "num_heads": 2}


def batch(frames, bands):
  values = np.random.default_rng(0).normal(size=(2, frames, bands, 1))
  return {"inputs": values.astype(np.float32)}


NETWORKS = [
  (spectrogram.visible_vit, {}),
  (spectrogram.visible_vit, {"alibi": True}),
  (spectrogram.vit, {"positions": "relative"}),
  (spectrogram.vit, {"positions": "sincos"}),
  (spectrogram.vit, {"positions": "absolute"}),
]


@pytest.mark.parametrize(("network", "options"), NETWORKS)
def test_patches_stand_where_they_are_in_time(network, options):
  encoder = network(frames=12, bands=8, **SIZES, **options)
  assert encoder.inputs.grid == (3, 2) and encoder.inputs.num_tokens == 6
  assert encoder.inputs.example()["inputs"].shape == (1, 12, 8, 1)
  x = batch(12, 8)
  params = encoder.init(jax.random.key(0), x)
  out = encoder(params, x)
  assert out.tokens.shape == (2, 6, 16) and out.cls.shape == (2, 16)
  # Pixels of the second patch in time, the first in frequency: token 2.
  own = encoder.raw_targets(x)[:, 2]
  np.testing.assert_array_equal(own, x["inputs"][:, 4:8, :4, 0].reshape(2, -1))
  encoder.resize(params)  # which fits


@pytest.mark.parametrize(
  ("network", "options"),
  [
    (spectrogram.visible_vit, {"alibi": True}),
    (spectrogram.vit, {"positions": "relative", "layer_scale": 0.0}),
  ],
)
def test_padding_changes_nothing(network, options):
  encoder = network(frames=12, bands=8, **SIZES, **options)
  x = batch(12, 8)
  # Of the second example the last of three rows of patches.
  x["padding"] = np.array([[False] * 6, [False] * 4 + [True] * 2])
  params = encoder.init(jax.random.key(0), x)
  other = {**x, "inputs": x["inputs"].copy()}
  other["inputs"][1, 8:] = 5.0
  visible = {}
  if encoder.visible:
    visible = {"keep_ids": np.array([[[0, 3]], [[1, 4]]], np.int32)}
  for options in ({}, visible):
    a, b = (encoder(params, inputs, **options) for inputs in (x, other))
    np.testing.assert_array_equal(a.padding, b.padding)
    real = ~np.asarray(a.padding)
    for of_a, of_b in ((a.tokens[real], b.tokens[real]), (a.cls, b.cls)):
      np.testing.assert_allclose(of_a, of_b, rtol=1e-6, atol=1e-6)
    assert not np.allclose(a.tokens, b.tokens, atol=1e-3)
  whole = encoder(params, {"inputs": x["inputs"]})
  assert whole.padding is None
  np.testing.assert_allclose(whole.cls[0], encoder(params, x).cls[0], atol=1e-6)
  assert not np.allclose(whole.cls[1], encoder(params, x).cls[1], atol=1e-3)


def test_a_square_is_an_image():
  x = batch(8, 8)
  ours = spectrogram.vit(frames=8, bands=8, **SIZES)
  theirs = vision.vit(image_size=8, mean=(0.0,), std=(1.0,), **SIZES)
  params = ours.init(jax.random.key(0), x)
  np.testing.assert_array_equal(
    ours(params, x).tokens, theirs(params, x).tokens
  )


@pytest.mark.parametrize("positions", ["relative", "absolute"])
def test_learned_positions_are_not_interpolated(positions):
  few = spectrogram.vit(frames=8, bands=8, positions=positions, **SIZES)
  many = spectrogram.vit(frames=12, bands=8, positions=positions, **SIZES)
  params = few.init(jax.random.key(0), batch(8, 8))
  with pytest.raises(ValueError, match="not those of 3 x 2 patches"):
    many.resize(params)


@pytest.mark.parametrize(
  ("sizes", "message"),
  [
    ({"frames": 10}, "vit: frames 10 is not a multiple of patch_size 4"),
    ({"bands": 9}, "vit: bands 9 is not a multiple of patch_size 4"),
  ],
)
def test_sizes_that_do_not_divide(sizes, message):
  with pytest.raises(ValueError, match=message):
    spectrogram.vit(**{"frames": 12, "bands": 8, **SIZES, **sizes})


def test_inputs_of_another_size():
  encoder = spectrogram.visible_vit(frames=12, bands=8, **SIZES)
  with pytest.raises(ValueError, match=r"must be \[B, 12, 8, C\] images, got"):
    encoder.init(jax.random.key(0), batch(8, 12))
