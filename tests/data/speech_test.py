import pickle

import numpy as np
import pytest

from d2v_jax.data import audio, layout
from d2v_jax.data.speech import EvalTransform, TrainTransform

LAYERS = ((8, 4, 2), (8, 3, 2))


def example(samples, length, **rest):
  signal = np.arange(1, samples + 1, dtype=np.float32)
  at = {"requested": 3, "record": 4}
  return {"audio": signal, "length": length, **at, **rest}


def first_half(rng, real, total):
  """A mask whose dependence on its arguments shows."""
  mask = np.zeros(total, bool)
  mask[: max(1, real // 2)] = True
  return mask


def text_length(record):
  return np.int32(len(record["text"]))


def test_longer_utterances_are_cropped_anywhere():
  transform = TrainTransform(LAYERS)
  rng = np.random.default_rng(0)
  starts = set()
  for _ in range(300):
    out = transform(example(24, 20), rng)
    start = int(out["inputs"][0]) - 1
    np.testing.assert_array_equal(
      out["inputs"], np.arange(start + 1, start + 21)
    )
    assert not out["padding"].any()
    starts.add(start)
  assert starts == {0, 1, 2, 3, 4}


def test_crops_are_slices_of_the_normalised_whole():
  rng = np.random.default_rng(0)
  raw = rng.normal(2, 3, 5000).astype(np.float32)
  whole = audio.normalise(raw)
  record = example(1, 800) | {"audio": whole}
  out = TrainTransform()(record, np.random.default_rng(1))["inputs"]
  windows = np.lib.stride_tricks.sliding_window_view(whole, 800)
  assert (windows == out).all(axis=1).sum() == 1
  assert abs(out.mean()) > 1e-4  # not normalised again


@pytest.mark.parametrize("samples", [8, 9, 19, 20])
def test_shorter_utterances_are_padded(samples):
  for out in (
    TrainTransform(LAYERS)(example(samples, 20), np.random.default_rng(0)),
    EvalTransform(LAYERS)(example(samples, 20)),
  ):
    inputs, padding = out["inputs"], out["padding"]
    assert inputs.dtype == np.float32 and inputs.shape == (20,)
    assert (inputs[:samples] == np.arange(1, samples + 1)).all()
    assert (inputs[samples:] == 0).all()
    assert padding.dtype == bool
    assert padding.shape == (layout.num_frames(20, LAYERS),) == (4,)
    assert (~padding).sum() == layout.num_frames(samples, LAYERS)
    assert (np.diff(padding.astype(int)) >= 0).all()


def test_real_frames_see_no_padding():
  # Sums over the samples that each frame sees, 0 if real and huge if padded.
  transform = EvalTransform(LAYERS)
  for samples in range(8, 21):
    out = transform(example(samples, 20))
    signal = np.where(np.arange(20) < samples, 0, 1e6)
    for _, kernel, stride in LAYERS:
      signal = np.convolve(signal, np.ones(kernel), "valid")[::stride]
    np.testing.assert_array_equal(signal > 0, out["padding"])


def test_masks():
  transform = TrainTransform(
    LAYERS, mask=first_half, channel_mask=first_half, width=6
  )
  out = transform(example(12, 20), np.random.default_rng(0))
  assert (~out["padding"]).tolist() == [True, True, False, False]
  assert out["mask"].tolist() == [True, False, False, False]
  assert out["channel_mask"].tolist() == [True] * 3 + [False] * 3
  assert (out["requested"], out["record"]) == (3, 4)
  plain = TrainTransform(LAYERS)(example(12, 20), np.random.default_rng(0))
  assert set(plain) == {"inputs", "padding", "requested", "record"}


def test_only_the_generator_is_random():
  transform = TrainTransform(LAYERS, mask=first_half)
  again = pickle.loads(pickle.dumps(transform))
  for seed in range(5):
    first = transform(example(50, 20), np.random.default_rng(seed))
    second = again(example(50, 20), np.random.default_rng(seed))
    for key in first:
      np.testing.assert_array_equal(first[key], second[key])


def test_labels():
  record = example(12, 20, text="four")
  train = TrainTransform(LAYERS, labels=text_length)
  assert train(record, np.random.default_rng(0))["label"] == 4
  assert EvalTransform(LAYERS, labels=text_length)(record)["label"] == 4
  assert "label" not in EvalTransform(LAYERS)(record)


def test_evaluation_keeps_the_beginning():
  out = EvalTransform(LAYERS)(example(30, 20))
  np.testing.assert_array_equal(out["inputs"], np.arange(1, 21))
  assert set(out) == {"inputs", "padding"}


def test_errors():
  with pytest.raises(ValueError, match=r"channel_mask needs .* width=None"):
    TrainTransform(mask=first_half, channel_mask=first_half)
  with pytest.raises(ValueError, match=r"set config.data.mask too"):
    TrainTransform(channel_mask=first_half, width=6)
  for transform in (TrainTransform, EvalTransform):
    with pytest.raises(ValueError, match="each of conv_layers must be"):
      transform(((1, 2),))
  with pytest.raises(ValueError, match="no frame of a batch's length=399"):
    EvalTransform()(example(399, 399))
