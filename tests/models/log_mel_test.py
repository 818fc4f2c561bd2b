import jax
import numpy as np
import pytest

from d2v_jax.data import layout, mel
from d2v_jax.models import log_mel

SMALL = ((4, 30, 20), (4, 8, 4), (4, 3, 2))  # 160 samples a token
STACKS = {
  "wav2vec": layout.CONV_LAYERS,
  "10 ms": SMALL,
  "1.25 ms": ((4, 10, 5), (4, 8, 4)),
  "31.25 ms": ((4, 100, 50), (4, 10, 10)),
}


def reference(audio, conv_layers, real):
  """Straight from the description, one window and one band at a time."""
  places = [(i, i) for i in range(len(audio))]  # first and last sample seen
  for _, kernel, stride in conv_layers:
    places = [
      (places[i][0], places[i + kernel - 1][1])
      for i in range(0, len(places) - kernel + 1, stride)
    ]
  stride = places[1][0] - places[0][0]
  parts = max(1, round(stride / 160))
  angle = np.outer(np.arange(257), np.arange(400)) * 2 * np.pi / 512
  hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)

  def mel(f):
    return 2595 * np.log10(1 + f / 700)

  edges = 700 * (10 ** (np.arange(82) * mel(8000) / 81 / 2595) - 1)
  frames = []
  for first, last in places:
    each = []
    for part in range(parts):
      centre = (first + last) / 2 + (part + 0.5 - parts / 2) * stride / parts
      start = int(np.floor(centre - 199.5 + 0.5))
      window = np.array(
        [
          audio[i] if 0 <= i < len(audio) else 0
          for i in range(start, start + 400)
        ]
      )
      power = (np.cos(angle) @ (hann * window)) ** 2
      power += (np.sin(angle) @ (hann * window)) ** 2
      bands = [
        power @ np.interp(np.arange(257) * 31.25, edges[b : b + 3], [0, 1, 0])
        for b in range(80)
      ]
      each.append(np.log(np.array(bands) + 1.5e-4))
    frames.append(np.mean(each, 0))
  frames = np.array(frames)
  mean, variance = frames[:real].mean(0), frames[:real].var(0)
  return (frames - mean) / np.sqrt(variance + 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("stack", STACKS)
def test_frames_are_the_description(stack):
  conv_layers = STACKS[stack]
  rng = np.random.default_rng(0)
  lengths = (1700, 1300)
  audio = np.zeros((2, 1700))
  for row, length in zip(audio, lengths, strict=True):
    row[:length] = rng.normal(size=length)
  total, *_ = real = [layout.num_frames(n, conv_layers) for n in lengths]
  padding = np.arange(total) >= np.array(real)[:, None]
  with jax.enable_x64(True):
    got = log_mel.log_mel(audio, padding, conv_layers)
  assert got.shape == (2, total, 80)
  for row, x, n in zip(got, audio, real, strict=True):
    expected = reference(x, conv_layers, n)
    np.testing.assert_allclose(row[:n], expected[:n], rtol=1e-8, atol=1e-8)
  single = log_mel.log_mel(audio.astype(np.float32), padding, conv_layers)
  assert single.dtype == np.float32
  # Few tokens that are nearly alike in a band make its norm a poor condition.
  np.testing.assert_allclose(single[0], got[0], rtol=0, atol=1e-3)


def test_padding_an_utterance_changes_nothing():
  rng = np.random.default_rng(0)
  audio = rng.normal(size=(1, 6000)).astype(np.float32)
  alone = log_mel.log_mel(audio, None, layout.CONV_LAYERS)
  padded = np.pad(audio, ((0, 0), (0, 5000)))
  n = alone.shape[1]
  total = layout.num_frames(11000)
  padding = np.arange(total)[None] >= n
  got = log_mel.log_mel(padded, padding, layout.CONV_LAYERS)
  np.testing.assert_allclose(got[:, :n], alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("stack", STACKS)
def test_a_click_is_loudest_at_the_token_that_has_it_in_its_middle(stack):
  conv_layers = STACKS[stack]
  stride = int(np.prod([s for _, _, s in conv_layers]))
  field = 1
  for _, kernel, step in reversed(conv_layers):
    field = (field - 1) * step + kernel
  assert layout.num_frames(field, conv_layers) == 1
  assert layout.num_frames(field - 1, conv_layers) == 0
  audio = np.zeros((1, field + 8 * stride), np.float32)
  audio[0, 5 * stride + field // 2] = 50
  loudness = np.asarray(log_mel.log_mel(audio, None, conv_layers)).mean(-1)
  assert loudness[0].argmax() == 5


def test_a_tone_is_in_its_band():
  time = np.arange(32000) / 16000
  frequency = np.where(time < 1, 3000, 1000)
  audio = np.sin(2 * np.pi * frequency * time)[None].astype(np.float32)
  frames = np.asarray(log_mel.log_mel(audio, None, layout.CONV_LAYERS))[0]
  mels = np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 82)[1:-1]
  middles = 700 * (10 ** (mels / 2595) - 1)
  for rows, hertz in ((frames[5:45], 3000), (frames[55:95], 1000)):
    loudest = middles[rows.mean(0).argmax()]
    assert abs(loudest / hertz - 1) < 0.05


def test_every_band_hears_something():
  bands = mel.bands(80)
  assert bands.shape == (257, 80)
  assert (bands.max(0) > 0.25).all()
  assert bands.min() == 0
  assert bands.max() <= 1


def test_silence_is_finite():
  frames = log_mel.log_mel(np.zeros((1, 2000), np.float32), None, SMALL)
  np.testing.assert_allclose(frames, 0, atol=1e-2)


def test_too_few_samples():
  with pytest.raises(
    ValueError, match="no token of 399 samples; they need 400"
  ):
    log_mel.window_starts(399, layout.CONV_LAYERS)
