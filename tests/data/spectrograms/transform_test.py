import numpy as np
import pytest

from d2v_jax.data import mel
from d2v_jax.data.labels import RecordLabel
from d2v_jax.data.layout import SpectrogramInputs
from d2v_jax.data.masks.image import (
  BeitBlockMask,
  InverseBlockMask,
  RandomPatchMask,
)
from d2v_jax.data.spectrograms.transform import (
  LogMelFrames,
  SpectrogramEvalTransform,
  SpectrogramTrainTransform,
)

INPUTS = SpectrogramInputs((8, 12), 4)  # of 7 * 160 + 400 samples
FRAMES = LogMelFrames(INPUTS, 0.5, 2.0)


def example(length):
  samples = np.random.default_rng(0).normal(size=length).astype(np.float32)
  return {"samples": samples, "label": 3, "requested": 5, "record": 6}


def frames(samples):
  return ((mel.log_mel(samples, 12) - 0.5) / 2.0)[..., None]


def test_evaluation_takes_the_middle():
  long = example(2000)
  row = SpectrogramEvalTransform(FRAMES, RecordLabel())(long)
  assert row["inputs"].dtype == np.float32 and row["label"] == 3
  np.testing.assert_allclose(
    row["inputs"], frames(long["samples"][240:1760]), atol=1e-6
  )


def test_what_is_short_is_followed_by_silence():
  short = example(560)
  row = SpectrogramEvalTransform(FRAMES)(short)["inputs"]
  assert row.shape == (8, 12, 1)
  np.testing.assert_allclose(row[:2], frames(short["samples"]), atol=1e-6)
  silence = (np.log(1.5e-4) - 0.5) / 2.0
  np.testing.assert_allclose(row[4:], np.full((4, 12, 1), silence), 1e-6)
  assert (row[2:4] > silence).all()  # windows that end in silence
  train = SpectrogramTrainTransform(FRAMES)
  # The first row of patches begins at sample 0, the second at 640.
  for length, padded in ((560, 3), (640, 3), (641, 0), (2000, 0), (1, 3)):
    row_of = SpectrogramEvalTransform(FRAMES)(example(length))
    expected = np.arange(6) >= 6 - padded
    np.testing.assert_array_equal(row_of["padding"], expected)
  made = train(short, np.random.default_rng(0))
  np.testing.assert_array_equal(made["inputs"], row)
  assert train.kept(short, np.random.default_rng(0)) == 1


def test_training_takes_a_part_at_random_with_its_masks():
  long = example(1524)
  mask = InverseBlockMask(num_masks=3, ratio=0.5, adjust=0.0, length=1)
  train = SpectrogramTrainTransform(FRAMES, mask)
  possible = [frames(long["samples"][k : k + 1520]) for k in range(5)]
  seen = set()
  for seed in range(40):
    row = train(long, np.random.default_rng(seed))
    assert row["mask"].shape == (3, 6) and row["keep_ids"].shape == (3, 3)
    assert (row["requested"], row["record"]) == (5, 6) and "label" not in row
    errors = [np.abs(row["inputs"] - x).max() for x in possible]
    assert min(errors) < 1e-5
    seen.add(int(np.argmin(errors)))
  assert seen == set(range(5))
  kept = train.kept(long, np.random.default_rng(0))
  assert kept == pytest.approx(1520 / 1524)


TALL = LogMelFrames(SpectrogramInputs((40, 16), 4), 0.0, 1.0)  # 10 x 4 patches


@pytest.mark.parametrize(
  ("mask", "visible"),
  [
    (InverseBlockMask(num_masks=3, ratio=0.8, adjust=0.07, length=3), 7),
    (RandomPatchMask(ratio=0.5, num_masks=2), 20),
    (RandomPatchMask(num_masked=10), None),
    (BeitBlockMask(ratio=0.5, min_block=2), None),
  ],
)
@pytest.mark.parametrize("rows", [1, 2, 5, 10])
def test_masks_are_drawn_on_what_is_there(mask, visible, rows):
  train = SpectrogramTrainTransform(TALL, mask)
  row = train(example(rows * 640 - 1), np.random.default_rng(rows))
  padding = row["padding"]
  real = 40 - padding.sum()
  # As many rows as the mask needs: to hide 10 patches, or to leave one of 5.
  fewest = {10: 12, 7: 8}.get(getattr(mask, "num_masked", None) or visible, 4)
  assert real == max(4 * rows, fewest) and not padding[:real].any()
  masks = np.atleast_2d(row["mask"])
  assert not masks[:, padding].any()
  assert (masks.sum(1) == mask.count((real // 4, 4))).all()
  if visible is not None:
    ids = row["keep_ids"]
    assert ids.shape == (len(masks), visible) and (np.diff(ids) > 0).all()
    for hidden, kept in zip(masks, ids, strict=True):
      assert not hidden[kept].any()
      # All that is there and visible is kept; padding fills the rest.
      assert set(np.flatnonzero(~hidden & ~padding)) <= set(kept)


def test_wrong_std():
  with pytest.raises(ValueError, match="std must be above 0, got 0"):
    LogMelFrames(INPUTS, 0.0, 0.0)
