import pickle

import grain.python as grain
import numpy as np
import pytest

from d2v_jax import config as config_lib
from d2v_jax.config import ConfigError
from d2v_jax.data import given, layout
from d2v_jax.data.files.unreadable import Unreadable
from d2v_jax.data.given import GivenRecords
from d2v_jax.modalities import MODALITIES
from tests.data.speech.recordings import encoded, sine


def plain(record):
  return record


def numbers(count, first=0):
  return [{"value": i} for i in range(first, first + count)]


def test_records_of_any_source():
  for source in (
    numbers(5),
    grain.MapDataset.source(numbers(5)),
    grain.MapDataset.source(numbers(10)).slice(slice(0, 5)),
  ):
    records = GivenRecords(source, "train", "value", plain)
    assert len(records) == 5 and records[np.int64(3)] == {"value": 3}
    assert records.record_name(3) == "train[3]" and records.class_names == ()
  assert pickle.loads(pickle.dumps(records))[4] == {"value": 4}


@pytest.mark.parametrize(
  ("source", "message"),
  [
    (iter([1]), "'train' is of the type list_iterator, which gives no record"),
    (
      grain.MapDataset.source(numbers(3)).to_iter_dataset(),
      r"IterDataset, which gives no record by its number, as resuming and shuf",
    ),
    (
      grain.MapDataset.source(numbers(3)).repeat(),
      "without end; do not repeat",
    ),
    ([], "data: 'train' is empty"),
    ([(1, 2)], r"train\[0\] must be a dict with 'value', got tuple"),
    ([{"a": 1}], r"train\[0\] must be a dict with 'value', got \['a'\]"),
  ],
)
def test_what_is_no_source(source, message):
  with pytest.raises(ValueError, match=message):
    GivenRecords(source, "train", "value", plain)


class Spoiled:
  def __len__(self):
    return 2

  def __getitem__(self, index):
    raise Unreadable(f"bad {index}")


def test_fingerprints():
  found = {
    given.fingerprint(source)
    for source in (
      numbers(5),
      numbers(6),
      numbers(5, 1),
      [{"value": i, "label": 1} for i in range(5)],
      [{"value": np.arange(i)} for i in range(5)],
      Spoiled(),
    )
  }
  assert len(found) == 6
  assert given.fingerprint(numbers(5)) in found


def test_splits():
  images = np.zeros((2, 8, 8))
  assert given.splits(images) == {"train": images}
  assert given.splits({"image": images}) == {"train": {"image": images}}
  assert given.splits({"train": 1, "test": 2}) == {"train": 1, "test": 2}
  config = {
    "data": {"source": {"sources": ({"name": "given", "split": "a"},)}},
    "evaluation": {"train": {"name": "given"}, "test": {"name": "digits"}},
  }
  assert given.mentioned(config) == {"a", "train"}


INPUTS = {
  "vision": layout.ImageInputs(image_size=8, patch_size=2),
  "speech": layout.WaveformInputs(((8, 40, 20), (8, 16, 16)), width=16),
  "text": layout.TokenInputs(vocab_size=2000, max_tokens=64),
}
DATA = {
  "vision": {"channels": 1},
  "speech": {"buckets": {"lengths": [4800]}},
  "text": {"tokenizer": {"name": "kjv"}, "buckets": {"lengths": [64]}},
}
GREY = np.arange(128, dtype=np.uint8).reshape(2, 8, 8)
WAVES = np.stack([sine(4000, frequency=f) for f in (200, 300)])
TEXTS = ["In the beginning", "God created"]


def build(modality, value, **source):
  section = {"name": "given", **source}
  data = config_lib.call(
    MODALITIES[modality].data,
    {**DATA[modality], "source": section},
    "config.data",
    run={"inputs": INPUTS[modality], "given": {"train": value}},
  )
  data.check()
  return data.training(data.records()).source


@pytest.mark.parametrize(
  ("modality", "key", "values"),
  [
    ("vision", "image", GREY),
    ("speech", "audio", WAVES),
    ("text", "text", TEXTS),
  ],
)
def test_arrays_lists_and_records_are_the_same(modality, key, values):
  rate = {"rate": 16_000} if modality == "speech" else {}
  labels = {"label": [1, 0]}
  records = [
    {key: x, "label": y, **rate}
    for x, y in zip(values, labels["label"], strict=True)
  ]
  kinds = [
    {key: values, **labels, **rate},
    {key: list(values), **labels, **rate},
    records,
    grain.MapDataset.source(records),
  ]
  sources = [build(modality, value) for value in kinds]
  for source in sources[1:]:
    assert len(source) == 2
    for i in range(2):
      expected = sources[0][i]
      assert source[i].keys() == expected.keys() >= {"label"}
      for name, value in expected.items():
        np.testing.assert_array_equal(source[i][name], value)


def test_files_in_records():
  records = [{"audio": encoded(x), "text": "a"} for x in (*WAVES, np.zeros(0))]
  source = build("speech", records)
  assert len(source) == 2 and source.unreadable == {
    "train[2]": "empty: no samples"
  }
  assert source[0]["text"] == "a"
  whole = np.rint(WAVES * 2**15).astype(np.int16)
  source = build("speech", [{"audio": x, "rate": 16_000} for x in whole])
  assert abs(source[1]["samples"].std() - 1) < 1e-3


@pytest.mark.parametrize(
  ("modality", "value", "message"),
  [
    ("vision", GREY > 1, "ImageArrays: 'image' has the type bool"),
    (
      "vision",
      {"image": GREY, "x": 1},
      "unknown 'x'; give arrays by the names i",
    ),
    (
      "speech",
      WAVES,
      "'train' has no rate; give recordings as {'audio': ..., ",
    ),
    (
      "speech",
      [{"audio": WAVES[0]}],
      "samples without 'rate', samples per secon",
    ),
    ("text", [{"text": 1}], "'text' of a record must be text, got int"),
    (
      "text",
      {"text": TEXTS, "rate": 1},
      "unknown 'rate'; .*label, text, text_b, a",
    ),
  ],
)
def test_errors(modality, value, message):
  with pytest.raises(ConfigError, match=f"config.data.source: .*{message}"):
    build(modality, value)
  with pytest.raises(
    ConfigError, match=r"give 'dev' .*; what is given is train"
  ):
    build("vision", GREY, split="dev")
  with pytest.raises(
    ConfigError, match=r"source.splt: unknown field \(did you"
  ):
    build("vision", GREY, splt="dev")
