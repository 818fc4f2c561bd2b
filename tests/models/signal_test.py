import jax
import jax.numpy as jnp
import numpy as np
import pytest

from d2v_jax import config
from d2v_jax.config import ConfigError
from d2v_jax.modalities import MODALITIES
from d2v_jax.models.signal import signal, visible_signal
from d2v_jax.models.speech import speech

SMALL = {
  "width": 16,
  "depth": 2,
  "num_heads": 2,
  "position_depth": 2,
  "position_width": 6,
  "position_groups": 2,
}
WINDOWS = ((8, 0.3, 0.1), (8, 0.7, 0.2))
LAYERS = ((8, 3, 1), (8, 5, 2))


def network(make=signal, channels=3):
  return make(rate=10.0, channels=channels, windows=WINDOWS, **SMALL)


def inputs(channels=3, samples=30):
  rng = np.random.default_rng(0)
  return rng.normal(size=(2, samples, channels)).astype(np.float32)


def test_one_channel_is_a_waveform():
  batch = {"inputs": inputs(1)}
  ours, theirs = network(channels=1), speech(conv_layers=LAYERS, **SMALL)
  params = ours.init(jax.random.key(0), batch)
  waveform = {"inputs": batch["inputs"][..., 0]}
  expected = theirs(params, waveform).tokens
  np.testing.assert_array_equal(ours(params, batch).tokens, expected)


def test_channels_are_mixed_by_the_first_convolution():
  batch = {"inputs": inputs()}
  encoder = network()
  params = encoder.init(jax.random.key(0), batch)
  kernel = np.asarray(params["feature_encoder"]["conv0"]["kernel"])
  assert kernel.shape == (3, 3, 8)
  # A linear first layer alone, by its definition.
  x = batch["inputs"]
  conv = jax.lax.conv_general_dilated(
    x, kernel, (1,), "VALID", dimension_numbers=("NTC", "TIO", "NTC")
  )
  at = np.einsum("bkc,kcd->bd", x[:, 4:7], kernel)
  np.testing.assert_allclose(conv[:, 4], at, rtol=1e-4, atol=1e-5)
  # Swapping channels of the input and of the kernel changes nothing.
  first = {"kernel": kernel[:, ::-1]}
  swapped = {
    **params,
    "feature_encoder": {**params["feature_encoder"], "conv0": first},
  }
  np.testing.assert_allclose(
    encoder(swapped, {"inputs": x[..., ::-1]}).tokens,
    encoder(params, batch).tokens,
    atol=1e-4,
  )


@pytest.mark.parametrize("make", [signal, visible_signal])
def test_padding_changes_nothing(make):
  encoder, x = network(make), inputs()
  params = encoder.init(jax.random.key(0), {"inputs": x})
  count = encoder.inputs.num_tokens(30)
  padded = np.zeros((2, 44, 3), np.float32)
  padded[:, :30] = x
  padding = np.arange(encoder.inputs.num_tokens(44)) >= count
  batch = {"inputs": padded, "padding": np.stack([padding] * 2)}
  tokens = encoder(params, batch).tokens[:, :count]
  alone = encoder(params, {"inputs": x}).tokens
  np.testing.assert_allclose(tokens, alone, atol=2e-5)


def test_raw_targets_are_the_samples_amid_what_a_token_sees():
  encoder, x = network(), inputs()
  targets = np.asarray(encoder.raw_targets({"inputs": jnp.asarray(x)}))
  # A token sees 7 samples and the next begins 2 later: its own are 2 and 3.
  assert targets.shape == (2, 12, 6)
  for token in range(12):
    own = x[:, 2 * token + 2 : 2 * token + 4].reshape(2, -1)
    np.testing.assert_array_equal(targets[:, token], own)


@pytest.mark.parametrize("shape", [(2, 30), (2, 30, 4)])
def test_other_inputs_are_refused(shape):
  encoder = network()
  with pytest.raises(ValueError, match=r"samples \[B, T, 3\], got \(2, 30"):
    encoder.init(jax.random.key(0), {"inputs": np.zeros(shape, np.float32)})


@pytest.mark.parametrize("name", ["signal", "visible_signal"])
@pytest.mark.parametrize(
  ("fields", "message"),
  [
    ({"channels": 0}, "{}: channels must be 1 or more"),
    ({"num_heads": 3}, "{}: "),
    ({"conv_layers": LAYERS}, "conv_layers: unknown field"),
    ({"windows": ((8, 0.3),)}, r"config.encoder.windows: got"),
    ({"rate": "fast"}, "config.encoder.rate: got 'fast', but it must be"),
  ],
)
def test_errors_of_the_config(name, fields, message):
  spec = {"name": name, "rate": 10, "channels": 3, "windows": WINDOWS, **SMALL}
  table = MODALITIES["signal"].encoders
  assert config.build(spec, table, "config.encoder").inputs.channels == 3
  with pytest.raises(ConfigError, match=message.format(name)):
    config.build({**spec, **fields}, table, "config.encoder")
