import collections
import re

import numpy as np
import pytest

from d2v_jax import config as config_lib
from d2v_jax.config import ConfigError
from d2v_jax.data import layout
from d2v_jax.data.mixed_examples import MixedExamples
from d2v_jax.data.mixture import Mixture
from d2v_jax.modalities import MODALITIES
from tests.data.images.pictures import encoded, smooth
from tests.data.speech import recordings


class Numbers:
  """Examples that are their own number, some of them corrupt."""

  def __init__(self, name, size, corrupt=(), classes=()):
    self._name, self._size, self._corrupt = name, size, corrupt
    self.class_names = classes
    self.lengths = np.arange(1, size + 1)
    self.unreadable = {f"{name} gone": "it is gone"} if corrupt else {}

  def __len__(self):
    return self._size

  def __getitem__(self, index):
    assert type(index) is int
    record = index
    while record in self._corrupt:
      record = (record + 1) % self._size
    value = f"{self._name}{record}"
    return {"value": value, "requested": index, "record": record}

  def record_name(self, index):
    return f"{self._name} {index}"

  def problem(self, index):
    return f"{index} is bad" if index in self._corrupt else None


def sections(count):
  return tuple({"name": "folder", "path": f"data/{k}/"} for k in range(count))


def mixed(*sizes, **fields):
  parts = [Numbers("abc"[k], size) for k, size in enumerate(sizes)]
  return MixedExamples(parts, Mixture(sources=sections(len(sizes)), **fields))


def test_each_epoch_has_the_shares_and_each_source_its_own_passes():
  mixture = mixed(7, 30, 63, weights=(0.335, 0.335, 0.33))
  # 33.5, 33.5 and 33: of equal rests the first goes up.
  np.testing.assert_array_equal(mixture.counts, (34, 33, 33))
  drawn = np.stack([mixture.drawn(3, epoch) for epoch in range(21)])
  assert drawn.shape == (21, 100) and drawn.dtype == np.int32
  streams = {
    (0, 7): drawn[:, :34].ravel(),
    (7, 37): drawn[:, 34:67].ravel(),
    (37, 100): drawn[:, 67:].ravel(),
  }
  for (start, end), stream in streams.items():
    size = end - start
    whole = stream[: len(stream) // size * size].reshape(-1, size)
    # Each pass has all examples of the source, each time in another order.
    assert (np.sort(whole, 1) == np.arange(start, end)).all()
    assert len({row.tobytes() for row in whole}) > 0.9 * len(whole)
  np.testing.assert_array_equal(mixture.drawn(3, 5), drawn[5])
  assert (mixture.drawn(4, 5) != drawn[5]).any()


def test_examples_and_names_are_those_of_their_source():
  parts = [Numbers("a", 3, corrupt=(2,)), Numbers("b", 4, corrupt=(3, 0))]
  mixture = MixedExamples(parts, Mixture(sources=sections(2)))
  values = [mixture[i]["value"] for i in range(7)]
  # What is corrupt is replaced by an example of the same source.
  assert values == ["a0", "a1", "a0", "b1", "b1", "b2", "b1"]
  assert [mixture[i]["record"] for i in (2, 3, 6)] == [0, 4, 4]
  assert [mixture[i]["requested"] for i in (2, 3, 6)] == [2, 3, 6]
  assert mixture.record_name(6) == "b 3" and mixture.problem(6) == "3 is bad"
  assert mixture.span(2) == (0, 3) and mixture.span(3) == (3, 7)
  np.testing.assert_array_equal(mixture.lengths, [1, 2, 3, 1, 2, 3, 4])
  assert mixture.unreadable == dict.fromkeys(("a gone", "b gone"), "it is gone")
  assert list(mixture.identity.values()) == [3, 4]
  np.testing.assert_allclose(
    mixture.shares(np.array([0, 2, 3])), [2 / 3, 1 / 3]
  )


def test_classes_must_agree_only_to_be_learned():
  parts = [Numbers("a", 3, classes=("x", "y")), Numbers("b", 3)]
  mixture = MixedExamples(parts, Mixture(sources=sections(2)))
  message = r"different classes: 0 has x, y; 1 has none. To learn them"
  with pytest.raises(ConfigError, match=message):
    _ = mixture.class_names
  parts = [Numbers(name, 3, classes=("x", "y")) for name in "ab"]
  mixture = MixedExamples(parts, Mixture(sources=sections(2)))
  assert mixture.class_names == ("x", "y")


def test_the_start_of_a_run():
  said = mixed(10, 90, weights=(1, 1), names=("small", "large")).described()
  assert said == (
    "mixture: small 0.5 (an epoch has 50 of its 10 examples, each 5 times); "
    "large 0.5 (an epoch has 50 of its 90 examples)"
  )


def test_a_share_of_nothing():
  with pytest.raises(ValueError, match=r"0.001 of 20 examples is none of 0;"):
    mixed(10, 10, weights=(1, 999))


def source_of(modality, tmp_path, *, bad=False):
  """Two sources, the second with a file that is of no use."""
  if modality == "text":
    parts = [{"name": "kjv", "split": split} for split in ("train", "test")]
    return {"name": "mixture", "sources": parts, "weights": [1, 1]}
  ending, parts = {"vision": "png", "speech": "wav"}[modality], []
  for folder in ("one", "two"):
    for k in range(5):
      data = (
        encoded(smooth(8, 8, seed=k), "PNG")
        if modality == "vision"
        else recordings.encoded(recordings.sine(5000, frequency=200 + 50 * k))
      )
      data = b"no" if (folder, k) == ("two", 4) else data
      recordings.write_files(tmp_path / folder, {f"{k}.{ending}": data})
    parts.append({"name": "folder", "path": str(tmp_path / folder)})
  return {"name": "mixture", "sources": parts, "weights": [3, 1]}


DATA = {
  "vision": {"mask": {"name": "random_patches", "num_masked": 8}},
  "speech": {"mask": {"name": "spans"}, "buckets": {"lengths": [4800]}},
  "text": {
    "tokenizer": {"name": "kjv"},
    "packing": "documents",
    "buckets": {"lengths": [64]},
    "mask": {"name": "tokens"},
  },
}
INPUTS = {
  "vision": layout.ImageInputs(image_size=8, patch_size=2),
  "speech": layout.WaveformInputs(((8, 40, 20), (8, 16, 16)), width=16),
  "text": layout.TokenInputs(vocab_size=2000, max_tokens=64),
}


def build(modality, source, **fields):
  return config_lib.call(
    MODALITIES[modality].data,
    {**DATA[modality], "source": source, **fields},
    "config.data",
    run={"inputs": INPUTS[modality]},
  )


@pytest.mark.parametrize("modality", ["vision", "speech", "text"])
def test_of_each_modality(modality, tmp_path):
  data = build(modality, source_of(modality, tmp_path))
  data.check()
  source, transform = data.training()
  assert isinstance(source, MixedExamples)
  drawn = source.drawn(0, 0)
  of = collections.Counter((drawn >= source.sizes[0]).tolist())
  assert len(drawn) == len(source)
  expected = {"vision": (8, 2), "speech": (7, 2)}.get(modality)
  expected = expected or [-(-len(source) // 2), len(source) // 2]
  assert [of[False], of[True]] == list(expected)
  for index in (0, len(source) - 1):
    example = source[index]
    length = {"length": data.buckets.lengths[-1]} if data.buckets else {}
    row = transform({**example, **length}, np.random.default_rng(0))
    assert row["requested"] == index
  # Each file of no use is named: images when it is their turn.
  last = len(source) - 1
  if modality == "vision":
    assert source[last]["record"] == 5
    assert source.record_name(last) == str(tmp_path / "two/4.png")
    assert source.problem(last) == "no image that is read: text"
  elif modality == "speech":
    assert list(source.unreadable) == [str(tmp_path / "two/4.wav")]


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (
      {"sources": [{"name": "digits"}, {"name": "digitz"}]},
      "config.data.source.sources[1].name: unknown 'digitz'",
    ),
    (
      {"sources": [{"name": "digits", "spilt": "x"}, {"name": "digits"}]},
      "config.data.source.sources[0].spilt: unknown field",
    ),
    (
      {"sources": [{"name": "digits"}, {"name": "mixture"}]},
      "config.data.source.sources[1].name: unknown 'mixture'; choose one of: a",
    ),
    ({"weight": [1]}, "config.data.source.weight: unknown field (did you mean"),
    (
      {"weights": [1, 2, 3]},
      "config.data.source: Mixture: weights must have one for each of the 2",
    ),
  ],
)
def test_errors_of_the_config(change, message):
  parts = [{"name": "digits"}, {"name": "digits", "split": "test"}]
  source = {"name": "mixture", "sources": parts, **change}
  with pytest.raises(ConfigError, match=re.escape(message)):
    build("vision", source).check()


def test_what_cannot_be_in_one_batch(tmp_path):
  source_of("vision", tmp_path)
  unlabelled = {"name": "folder", "path": str(tmp_path / "one")}
  source = {"name": "mixture", "sources": [{"name": "digits"}, unlabelled]}
  build("vision", source).training()  # masks have no labels
  message = r"sources\[1\]: its examples become .*, but those of sources\[0\]"
  with pytest.raises(ConfigError, match=message):
    build("vision", source, mask=None).training()
  gone = {"name": "folder", "path": str(tmp_path / "gone")}
  source = {"name": "mixture", "sources": [{"name": "digits"}, gone]}
  with pytest.raises(ConfigError, match=r"source.sources\[1\]: ImageFolder: "):
    build("vision", source).training()


def test_an_evaluation_takes_no_mixture():
  source = {"name": "mixture", "sources": [{"name": "digits"}] * 2}
  with pytest.raises(
    ConfigError, match=r"evaluation\.test: a mixture draws from"
  ):
    build("vision", source).check_source(source, "config.evaluation.test")


def test_records_of_all_sources():
  parts = [{"name": "digits"}, {"name": "digits", "split": "test"}]
  data = build("vision", {"name": "mixture", "sources": parts})
  records = data.records()
  assert len(records) == 1797 and records.record_name(1297) == "digits/test[0]"
  one = data.open(parts[1], "config.evaluation.test")[0]
  np.testing.assert_array_equal(records[1297]["image"], one["image"])
  assert records.class_names == ()
  assert records.labels[1297] == records[1297]["label"]
  source = data.training(records).source
  assert (
    len(source) == 1797 and source.record_name(1296) == "digits/train[1296]"
  )
