"""What data of a config give a batch, and which are refused at once."""

import copy

import jax
import numpy as np
import pytest

from d2v_jax import config as config_lib
from d2v_jax.config import ConfigError
from d2v_jax.data import layout, pipeline
from d2v_jax.modalities import MODALITIES
from d2v_jax.training.batch_shapes import of_example

DATA = {
  "vision": {
    "source": {"name": "digits", "split": "train"},
    "channels": 1,
    "augment": {"crop_scale": None, "color_jitter": None},
    "mask": {
      "name": "inverse_blocks",
      "num_masks": 3,
      "ratio": 0.6,
      "adjust": 0.1,
      "length": 2,
    },
  },
  "speech": {
    "source": {"name": "tones", "split": "train"},
    "buckets": {"lengths": (4_800, 8_000)},
    "mask": {"name": "frame_blocks", "num_masks": 3, "length": 3},
  },
  "text": {
    "source": {"name": "kjv", "split": "test"},
    "tokenizer": {"name": "kjv"},
    "packing": "documents",
    "buckets": {"lengths": (32, 64)},
    "mask": {"name": "random_tokens", "num_masks": 3},
  },
}
INPUTS = {
  "vision": layout.ImageInputs(image_size=8, patch_size=2),
  "speech": layout.WaveformInputs(((8, 40, 20), (8, 16, 16)), width=16),
  "text": layout.TokenInputs(vocab_size=2000, max_tokens=64),
}
# N and V of the longest batch.
TOKENS = {"vision": (16, 6), "speech": (24, 12), "text": (64, 33)}


def build(modality, **changes):
  data = copy.deepcopy(DATA[modality])
  for name, value in changes.items():
    section = data.setdefault(name, {})
    section.update(value) if value is not None else data.pop(name)
  dataset = config_lib.call(
    MODALITIES[modality].data,
    data,
    "config.data",
    run={"inputs": INPUTS[modality]},
  )
  return dataset, dataset.training()


def shapes_of(dataset, examples):
  """Of a batch of the longest; those of what is read and of nothing agree."""
  buckets = dataset.buckets
  length = buckets.lengths[-1] if buckets is not None else None
  shapes = of_example(dataset.blank(length), dataset, 4)
  example = {**examples.source[0], "length": length}
  assert of_example(example, dataset, 4) == shapes
  return shapes


def batches_of(dataset, examples):
  stream = pipeline.train_batches(
    *examples, seed=0, batch_size=4, num_threads=1, buckets=dataset.buckets
  )
  try:
    return [next(stream) for _ in range(4)]
  finally:
    stream.close()


@pytest.mark.parametrize("modality", sorted(DATA))
def test_batches_of_several_masks(modality):
  dataset, examples = build(modality)
  shapes = shapes_of(dataset, examples)
  tokens, visible = TOKENS[modality]
  assert shapes["mask"] == jax.ShapeDtypeStruct((4, 3, tokens), np.bool_)
  assert shapes["keep_ids"] == jax.ShapeDtypeStruct((4, 3, visible), np.int32)
  for batch in batches_of(dataset, examples):
    assert batch.keys() == shapes.keys()
    mask, kept = batch["mask"], batch["keep_ids"]
    assert (np.diff(kept) > 0).all()
    assert not np.take_along_axis(mask, kept, 2).any()
    # All that is neither hidden nor padding is encoded.
    padding = np.zeros(mask.shape[::2], bool)
    if modality == "text":
      padding = batch["inputs"] == 1
    elif modality == "speech":
      padding = batch["padding"]
    encoded = np.zeros(mask.shape, bool)
    np.put_along_axis(encoded, kept, True, 2)
    np.testing.assert_array_equal(encoded | padding[:, None], ~mask)


@pytest.mark.parametrize(
  ("modality", "augment", "added"),
  [
    ("vision", {"views": 2, "view_augment": {}}, {"inputs_b"}),
    (
      "speech",
      {"views": 2, "wave_augment": {"gap": 0.2}},
      {"padding", "inputs_b", "padding_b"},
    ),
  ],
)
def test_batches_of_two_views(modality, augment, added):
  dataset, examples = build(modality, augment=augment, mask=None)
  shapes = shapes_of(dataset, examples)
  assert set(shapes) == {"inputs", *added}
  for name in ("inputs", "padding"):
    if name in shapes:
      assert shapes[name] == shapes[f"{name}_b"]
  for batch in batches_of(dataset, examples):
    assert batch.keys() == shapes.keys()
    differ = batch["inputs"] != batch["inputs_b"]
    assert differ.reshape(4, -1).any(1).all()


@pytest.mark.parametrize(
  ("modality", "changes", "message"),
  [
    (
      "vision",
      {"mask": {"ratio": 0.95}},
      "config.data.mask: InverseBlockMask: .* 0 of 16 patches stay",
    ),
    (
      "vision",
      {"mask": {"num_masks": 0}},
      "config.data.mask: InverseBlockMask: num_masks must be 1 to 1024, got 0",
    ),
    (
      "vision",
      {"mask": {"name": "beit_blocks"}},
      "config.data.mask.num_masks: unknown field",
    ),
    (
      "speech",
      {"mask": {"ratio": 0.01}},
      "config.data.buckets.lengths=4800: FrameBlockMask: .* 14 of 14 frames ",
    ),
    (
      "text",
      {"mask": {"ratio": 0.98}},
      "config.data.buckets.lengths=32: RandomTokenMask: .* 0 of 32 tokens stay",
    ),
    (
      "text",
      {"augment": {"views": 2}},
      "config.data.augment.views: unknown field",
    ),
    (
      "vision",
      {"augment": {"view_augment": {"hue": 0.1}}},
      "config.data.augment.view_augment.hue: unknown field; choose from: blur",
    ),
    (
      "speech",
      {"augment": {"views": 3}},
      "config.data.augment: RecordingTrainTransform: views must be 1 or 2, "
      "got 3",
    ),
  ],
)
def test_errors(modality, changes, message):
  with pytest.raises(ConfigError, match=message):
    build(modality, **changes)


def test_an_example_of_one_frame_is_found_before_training():
  inputs = layout.WaveformInputs(((8, 4_000, 4_000),), width=16)
  data = DATA["speech"] | {"mask": {"name": "spans"}}
  dataset = config_lib.call(
    MODALITIES["speech"].data, data, "config.data", run={"inputs": inputs}
  )
  with pytest.raises(
    ConfigError, match=r"none of 390 utterances is left: .* fewer than 2 frames"
  ):
    dataset.training()


@pytest.mark.parametrize("modality", sorted(DATA))
def test_labels_are_known_without_reading(modality):
  dataset, _ = build(modality)
  records = dataset.records()
  assert [records[i]["label"] for i in range(50)] == list(records.labels[:50])
  assert len(records.labels) == len(records)


@pytest.mark.parametrize("modality", sorted(DATA))
def test_records_can_be_looked_at(modality):
  dataset, _ = build(modality)
  records = dataset.records()
  looks = [dataset.look(records[i]) for i in range(10)]
  assert len({look.digest for look in looks}) == 10
  assert all(look.numbers and not look.oddity for look in looks)


@pytest.mark.parametrize("modality", sorted(DATA))
def test_blocks_of_text_are_made_of_many_records(modality):
  assert build(modality)[0].by_record == (modality != "text")
  if modality == "text":
    assert build("text", packing=None)[0].by_record


def test_records_that_are_open_are_taken():
  dataset, examples = build("vision")
  few = First(dataset.records(), 5)
  assert len(dataset.training(few).source) == 5 < len(examples.source)


class First:
  """The first records of a source."""

  def __init__(self, source, count):
    self._source, self._count = source, count

  def __len__(self):
    return self._count

  def __getitem__(self, index):
    return self._source[index]


def test_blocks_of_text_are_as_long_as_batches_hold():
  """And nothing of them is cut off, however much the network could take."""
  inputs = layout.TokenInputs(vocab_size=2000, max_tokens=512)
  made = []
  for lengths in ((512,), (16, 48)):
    data = DATA["text"] | {
      "packing": "complete",
      "buckets": {"lengths": lengths},
    }
    dataset = config_lib.call(
      MODALITIES["text"].data, data, "config.data", run={"inputs": inputs}
    )
    made.append(dataset.training().source.lengths)
  whole, short = made
  assert whole.max() == 512 and short.max() == 48
  # Each block has a beginning of its own, and all words are in both.
  assert short.sum() - len(short) == pytest.approx(
    whole.sum() - len(whole), rel=0.01
  )
