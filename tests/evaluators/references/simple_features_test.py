import jax.numpy as jnp
import numpy as np
import pytest

from d2v_jax.data import layout, mel
from d2v_jax.evaluators.features import Features, pool_features
from d2v_jax.evaluators.references.simple_features import simple_features
from d2v_jax.models import spectrogram
from d2v_jax.models.signal import signal
from d2v_jax.models.speech import speech
from d2v_jax.models.text import text
from d2v_jax.models.vision import vit

SMALL = {"width": 8, "depth": 1, "num_heads": 2}
RNG = np.random.default_rng(0)


def tokens(kind, batch):
  batch = {k: jnp.asarray(v) for k, v in batch.items()}
  return np.asarray(kind.encode({}, batch).tokens)


class TestImages:
  ENCODER = vit(image_size=8, patch_size=4, mean=(0.5,), std=(0.25,), **SMALL)
  IMAGES = RNG.integers(0, 256, (3, 8, 8, 1)).astype(np.uint8)

  def test_pixels_side_by_side(self):
    whole, _ = simple_features(self.ENCODER)
    assert (whole.name, whole.pools) == ("pixels", ("mean",))
    expected = (self.IMAGES.reshape(3, 1, 64) / 255 - 0.5) / 0.25
    got = tokens(whole, {"inputs": self.IMAGES})
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6)

  def test_pixels_pooled_as_patches_are(self):
    _, pooled = simple_features(self.ENCODER)
    assert (pooled.name, pooled.pools) == ("pixels_pooled", None)
    output = pooled.encode({}, {"inputs": jnp.asarray(self.IMAGES)})
    got = pool_features(output, Features(pool="cells:2"), pooled.grid)
    cells = self.IMAGES.reshape(3, 2, 4, 2, 4).transpose(0, 1, 3, 2, 4)
    expected = (cells.reshape(3, 64) / 255 - 0.5) / 0.25
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6)

  def test_large_images_are_made_smaller(self):
    encoder = vit(image_size=64, patch_size=16, **SMALL)
    whole, _ = simple_features(encoder)
    images = np.full((2, 64, 64, 3), 100, np.uint8)
    assert tokens(whole, {"inputs": images}).shape == (2, 1, 32 * 32 * 3)


class TestSpeech:
  ENCODER = speech(
    conv_layers=((4, 40, 20), (4, 8, 8)), position_groups=2, **SMALL
  )

  def test_log_mel_as_loud_as_it_is(self):
    whole, pooled = simple_features(self.ENCODER)
    assert (whole.name, pooled.name) == ("log_mel", "log_mel_pooled")
    assert whole.pools == ("mean_std", "segments:8")
    audio = RNG.normal(size=(1, 4000)).astype(np.float32)
    # A token is 10 ms, of one window around the middle of what it sees.
    frame = tokens(whole, {"inputs": audio})[0, 5]
    start = int(np.floor(5 * 160 + 179 / 2 - 399 / 2 + 0.5))
    expected = mel.log_mel(audio[0, start : start + 400], 80)[0]
    np.testing.assert_allclose(frame, expected, rtol=0, atol=1e-4)

  @pytest.mark.parametrize("pool", ["mean_std", "segments:3"])
  def test_padding_is_in_no_pool(self, pool):
    whole, _ = simple_features(self.ENCODER)
    audio = RNG.normal(size=(1, 4020)).astype(np.float32)
    n = layout.num_frames(4020, self.ENCODER.inputs.conv_layers)
    longer = np.pad(audio, ((0, 0), (0, 1600)))
    padding = np.arange(n + 10)[None] >= n

    def pooled(**batch):
      batch = {k: jnp.asarray(v) for k, v in batch.items()}
      return pool_features(whole.encode({}, batch), Features(pool=pool))

    np.testing.assert_allclose(
      pooled(inputs=longer, padding=padding),
      pooled(inputs=audio),
      rtol=0,
      atol=1e-5,
    )


def test_signals():
  encoder = signal(
    channels=2,
    rate=100.0,
    windows=((4, 0.08, 0.04),),
    position_groups=2,
    **SMALL,
  )
  whole, pooled = simple_features(encoder)
  assert (whole.name, pooled.name) == ("channels", "channels_pooled")
  x = RNG.normal(size=(2, 20, 2)).astype(np.float32)
  # Four samples amid the eight that a token sees.
  own = np.stack([x[:, i + 2 : i + 6] for i in (0, 4, 8, 12)], 1)
  expected = np.concatenate([own.mean(2), own.std(2)], -1)
  got = tokens(whole, {"inputs": x})
  np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6)


def test_spectrograms():
  encoder = spectrogram.vit(frames=8, bands=4, patch_size=2, **SMALL)
  whole, pooled = simple_features(encoder)
  x = RNG.normal(size=(2, 8, 4, 1)).astype(np.float32)
  np.testing.assert_array_equal(tokens(whole, {"inputs": x}), x[..., 0])
  assert whole.grid == () and pooled.grid == (4, 2)
  padding = np.repeat(np.arange(4) >= 3, 2)[None].repeat(2, 0)
  output = whole.encode({}, {"inputs": x, "padding": jnp.asarray(padding)})
  assert output.padding.tolist() == 2 * [6 * [False] + 2 * [True]]
  patches = tokens(pooled, {"inputs": x})
  np.testing.assert_array_equal(patches[:, 1], x[:, :2, 2:].reshape(2, 4))


def test_text_has_no_numbers():
  encoder = text(vocab_size=20, max_tokens=8, **SMALL)
  assert simple_features(encoder) == ()
