import pickle

import numpy as np
import pytest

from d2v_jax.data import layout
from d2v_jax.data.masks.speech import FrameBlockMask, SpanMask
from d2v_jax.data.recordings.augment import WaveAugment
from d2v_jax.data.recordings.transform import (
  RecordingEvalTransform,
  RecordingTrainTransform,
)
from d2v_jax.data.speech import decoding

LAYERS = ((8, 4, 2), (8, 3, 2))


def example(samples, length, **rest):
  signal = np.arange(1, samples + 1, dtype=np.float32)
  at = {"requested": 3, "record": 4}
  return {"samples": signal, "length": length, **at, **rest}


class FirstHalf:
  """A mask whose dependence on its arguments shows."""

  num_masks = None

  def check(self, shape, shortest=None):
    pass

  def __call__(self, rng, example):
    padding = example["padding"]
    size = len(padding) - padding.sum()
    return {"mask": np.arange(len(padding)) < max(1, size // 2)}


FIRST_HALF = FirstHalf()


def text_length(record):
  return np.int32(len(record["text"]))


def test_longer_utterances_are_cropped_anywhere():
  transform = RecordingTrainTransform(LAYERS)
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
  whole = decoding.normalise(raw)
  record = example(1, 800) | {"samples": whole}
  out = RecordingTrainTransform()(record, np.random.default_rng(1))["inputs"]
  windows = np.lib.stride_tricks.sliding_window_view(whole, 800)
  assert (windows == out).all(axis=1).sum() == 1
  assert abs(out.mean()) > 1e-4  # not normalised again


@pytest.mark.parametrize("samples", [8, 9, 19, 20])
def test_shorter_utterances_are_padded(samples):
  for out in (
    RecordingTrainTransform(LAYERS)(
      example(samples, 20), np.random.default_rng(0)
    ),
    RecordingEvalTransform(LAYERS)(example(samples, 20)),
  ):
    inputs, padding = out["inputs"], out["padding"]
    assert inputs.dtype == np.float32 and inputs.shape == (20,)
    assert (inputs[:samples] == np.arange(1, samples + 1)).all()
    assert (inputs[samples:] == 0).all()
    assert padding.dtype == bool
    assert padding.shape == (layout.num_frames(20, LAYERS),) == (4,)
    assert (~padding).sum() == layout.num_frames(samples, LAYERS)
    assert (np.diff(padding.astype(int)) >= 0).all()


def test_frames_see_no_padding():
  # Sums over the samples that each frame sees, 0 or huge where padded.
  transform = RecordingEvalTransform(LAYERS)
  for samples in range(8, 21):
    out = transform(example(samples, 20))
    signal = np.where(np.arange(20) < samples, 0, 1e6)
    for _, kernel, stride in LAYERS:
      signal = np.convolve(signal, np.ones(kernel), "valid")[::stride]
    np.testing.assert_array_equal(signal > 0, out["padding"])


def test_masks():
  transform = RecordingTrainTransform(
    LAYERS, mask=FIRST_HALF, channel_mask=FIRST_HALF, width=6
  )
  out = transform(example(12, 20), np.random.default_rng(0))
  assert (~out["padding"]).tolist() == [True, True, False, False]
  assert out["mask"].tolist() == [True, False, False, False]
  assert out["channel_mask"].tolist() == [True] * 3 + [False] * 3
  assert (out["requested"], out["record"]) == (3, 4)
  plain = RecordingTrainTransform(LAYERS)(
    example(12, 20), np.random.default_rng(0)
  )
  assert set(plain) == {"inputs", "padding", "requested", "record"}


@pytest.mark.parametrize("samples", [8, 20, 62, 102, 300])
@pytest.mark.parametrize("ratio", [0.3, 0.55, 0.8])
def test_several_masks(samples, ratio):
  masks = FrameBlockMask(3, ratio, length=3)
  transform = RecordingTrainTransform(LAYERS, mask=masks)
  out = transform(example(samples, 102), np.random.default_rng(0))
  total = layout.num_frames(102, LAYERS)
  frames = min(total, layout.num_frames(samples, LAYERS))
  assert total == 24
  visible = total - int(total * ratio)
  assert out["mask"].shape == (3, total)
  assert out["keep_ids"].shape == (3, visible)
  assert out["keep_ids"].dtype == np.int32
  for hidden, kept in zip(out["mask"], out["keep_ids"].tolist(), strict=True):
    assert hidden.sum() == int(frames * ratio)
    assert not (hidden & out["padding"]).any()
    shown = [i for i in range(frames) if not hidden[i]]
    # All visible frames, then the first of the padding.
    assert kept == [*shown, *range(frames, frames + visible - len(shown))]
  plain = RecordingTrainTransform(LAYERS)(
    example(samples, 102), np.random.default_rng(0)
  )
  np.testing.assert_array_equal(out["inputs"], plain["inputs"])


def test_two_crops():
  transform = RecordingTrainTransform(LAYERS, views=2)
  rng = np.random.default_rng(0)
  starts = set()
  for _ in range(200):
    out = transform(example(24, 20), rng)
    assert set(out) == {
      *("inputs", "padding", "inputs_b", "padding_b"),
      *("requested", "record"),
    }
    assert not (out["padding"] | out["padding_b"]).any()
    starts.add((int(out["inputs"][0]), int(out["inputs_b"][0])))
  assert starts == {(a, b) for a in range(1, 6) for b in range(1, 6)}
  # A mask belongs to the first.
  masked = RecordingTrainTransform(LAYERS, mask=FIRST_HALF, views=2)
  assert masked(example(24, 20), rng)["mask"].shape == (4,)


def test_pieces_of_views():
  """Each piece stands somewhere in the utterance, and is padded."""
  off = {"gain": 0.0, "noise": None, "gap": 0.0}
  transform = RecordingTrainTransform(
    LAYERS, wave_augment=WaveAugment(**off), views=2
  )
  rng = np.random.default_rng(0)
  sizes = {"inputs": set(), "inputs_b": set()}
  for samples in (8, 10, 60, 200):
    for _ in range(100):
      out = transform(example(samples, 102), rng)
      for view in ("inputs", "inputs_b"):
        size = np.count_nonzero(out[view])
        fits = min(samples, 102)
        assert max(8, round(0.6 * fits)) <= size <= fits
        first = int(out[view][0])
        assert first >= 1 and first + size - 1 <= samples
        wanted = np.arange(first, first + size)
        np.testing.assert_array_equal(out[view][:size], wanted)
        padding = out[view.replace("inputs", "padding")]
        assert (~padding).sum() == layout.num_frames(size, LAYERS) > 0
        sizes[view].add(size)
  assert min(len(s) for s in sizes.values()) > 40


def test_views_sound_different():
  transform = RecordingTrainTransform(
    LAYERS, wave_augment=WaveAugment(), views=2
  )
  transform = pickle.loads(pickle.dumps(transform))
  out = transform(example(300, 102), np.random.default_rng(0))
  for view in ("inputs", "inputs_b"):
    assert out[view].dtype == np.float32 and out[view].shape == (102,)
  assert (out["inputs"] != out["inputs_b"]).any()
  again = transform(example(300, 102), np.random.default_rng(0))
  np.testing.assert_array_equal(out["inputs_b"], again["inputs_b"])


def test_only_the_generator_is_random():
  transform = RecordingTrainTransform(LAYERS, mask=FIRST_HALF)
  again = pickle.loads(pickle.dumps(transform))
  for seed in range(5):
    first = transform(example(50, 20), np.random.default_rng(seed))
    second = again(example(50, 20), np.random.default_rng(seed))
    for key in first:
      np.testing.assert_array_equal(first[key], second[key])


def test_labels():
  record = example(12, 20, text="four")
  train = RecordingTrainTransform(LAYERS, labels=text_length)
  assert train(record, np.random.default_rng(0))["label"] == 4
  assert (
    RecordingEvalTransform(LAYERS, labels=text_length)(record)["label"] == 4
  )
  assert "label" not in RecordingEvalTransform(LAYERS)(record)


def test_evaluation_keeps_the_beginning():
  out = RecordingEvalTransform(LAYERS)(example(30, 20))
  np.testing.assert_array_equal(out["inputs"], np.arange(1, 21))
  assert set(out) == {"inputs", "padding"}


def test_errors():
  with pytest.raises(ValueError, match=r"channel_mask needs .* width=None"):
    RecordingTrainTransform(mask=FIRST_HALF, channel_mask=FIRST_HALF)
  with pytest.raises(ValueError, match="channel_mask goes with one mask of"):
    RecordingTrainTransform(
      mask=FrameBlockMask(), channel_mask=FIRST_HALF, width=6
    )
  with pytest.raises(ValueError, match="hides one set of channels, not sev"):
    RecordingTrainTransform(
      mask=FIRST_HALF, channel_mask=FrameBlockMask(), width=6
    )
  with pytest.raises(ValueError, match="views must be 1 or 2, got 0"):
    RecordingTrainTransform(views=0)
  with pytest.raises(ValueError, match="1 of 1 frames stay visible"):
    RecordingTrainTransform(mask=FrameBlockMask()).check_length(400)
  RecordingTrainTransform(mask=FrameBlockMask()).check_length(720)
  short = RecordingTrainTransform(mask=SpanMask())
  short.check_length(8000, shortest=720)  # two frames
  with pytest.raises(ValueError, match="SpanMask: one frame has to stay"):
    short.check_length(8000, shortest=719)
  with pytest.raises(ValueError, match="SpanMask: one frame has to stay"):
    short.check_length(719, shortest=8000)
  pieces = RecordingTrainTransform(mask=SpanMask(), wave_augment=WaveAugment())
  pieces.check_length(8000, shortest=1200)  # 0.6 of it at least
  with pytest.raises(ValueError, match="SpanMask: one frame has to stay"):
    pieces.check_length(8000, shortest=1190)
  with pytest.raises(ValueError, match=r"set config.data.mask too"):
    RecordingTrainTransform(channel_mask=FIRST_HALF, width=6)
  with pytest.raises(ValueError, match="so of 1 none can be hidden"):
    RecordingTrainTransform(mask=FIRST_HALF, channel_mask=SpanMask(), width=1)
  for transform in (RecordingTrainTransform, RecordingEvalTransform):
    with pytest.raises(ValueError, match="each of conv_layers must be"):
      transform(((1, 2),))
  with pytest.raises(ValueError, match="no frame of a batch's length=399"):
    RecordingTrainTransform().check_length(399)
  with pytest.raises(ValueError, match="no frame of a batch's length=399"):
    RecordingEvalTransform()(example(399, 399))


@pytest.mark.parametrize(
  ("samples", "piece", "kept"),
  [(100, None, 1.0), (400, None, 0.5), (400, (0.6, 0.6), 0.3)],
)
def test_what_a_batch_keeps(samples, piece, kept):
  augment = None if piece is None else WaveAugment(piece)
  made = RecordingTrainTransform(LAYERS, wave_augment=augment)
  rng = np.random.default_rng(0)
  assert made.kept(example(samples, 200), rng) == kept
