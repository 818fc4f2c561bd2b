import jax
import numpy as np
import pytest

from d2v_jax.data import layout
from d2v_jax.models.speech import speech
from d2v_jax.models.text import text
from d2v_jax.models.vision import vit

SMALL = {"width": 16, "depth": 1, "num_heads": 2}
CONVS = ((8, 10, 5), (8, 3, 2), (8, 2, 2))


def encoder(kind):
  if kind == "images":
    return vit(image_size=12, patch_size=4, mean=(0.5,), std=(0.5,), **SMALL)
  if kind == "waveforms":
    return speech(conv_layers=CONVS, position_groups=4, **SMALL)
  return text(vocab_size=30, max_tokens=12, **SMALL)


def shape_of_tokens(network, batch):
  def run():
    params = network.init(jax.random.key(0), batch)
    return network(params, batch).tokens

  return jax.eval_shape(run).shape


def test_an_encoder_says_what_it_takes():
  assert encoder("images").inputs == layout.ImageInputs(12, 4)
  assert encoder("waveforms").inputs == layout.WaveformInputs(CONVS, 16)
  assert encoder("texts").inputs == layout.TokenInputs(30, 12)
  assert encoder("images").grid == (3, 3)
  assert encoder("waveforms").grid == encoder("texts").grid == ()


@pytest.mark.parametrize("kind", ["waveforms", "texts"])
def test_the_network_makes_as_many_tokens_as_are_said(kind):
  network = encoder(kind)
  inputs = network.inputs
  for extra in (0, 7):
    length = inputs.shortest + extra
    batch = inputs.example(2, length)
    shape = shape_of_tokens(network, batch)
    assert shape == (2, inputs.num_tokens(length), 16)
  assert inputs.num_tokens(inputs.shortest) == 1


def test_the_network_makes_as_many_tokens_of_an_image_as_are_said():
  network = encoder("images")
  batch = network.inputs.example(2, channels=1)
  assert batch["inputs"].shape == (2, 12, 12, 1)
  assert batch["inputs"].dtype == np.uint8
  assert shape_of_tokens(network, batch) == (2, 9, 16)
  assert network.inputs.num_tokens == 9


def test_the_shortest_waveform_of_wav2vec_2():
  # 25 ms at 16 kHz.
  inputs = layout.WaveformInputs(layout.CONV_LAYERS, 768)
  assert (inputs.shortest, inputs.longest) == (400, None)
  assert inputs.num_tokens(399) == 0
  assert inputs.num_tokens(16_000) == 49


def test_lengths_that_a_network_does_not_take():
  waveforms = layout.WaveformInputs(CONVS, 16)
  message = r"the length must be 30 to any more \(samples\), got 29"
  with pytest.raises(ValueError, match=message):
    waveforms.example(length=29)
  texts = layout.TokenInputs(30, 12)
  assert texts.example(length=texts.longest)["inputs"].shape == (1, 12)
  for length in (0, 13):
    message = rf"the length must be 1 to 12 \(tokens\), got {length}"
    with pytest.raises(ValueError, match=message):
      texts.example(length=length)
