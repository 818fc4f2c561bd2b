import itertools
import logging

import cv2
import numpy as np
import pytest

from d2v_jax.data import buckets, pipeline
from d2v_jax.data.images import examples, sources
from d2v_jax.data.images import transform as image_transform
from d2v_jax.data.images.pixels import Form
from d2v_jax.data.masks import image as image_masks

MASK = image_masks.BeitBlockMask(7, min_block=2)
TRANSFORM = image_transform.ImageTrainTransform(8, 2, MASK)


@pytest.fixture(scope="module")
def digits():
  return examples.DecodedImages(sources.Digits("test"), Form(1))


def take(source, count, transform=TRANSFORM, **options):
  options = {"seed": 1, "batch_size": 8, "num_threads": 2} | options
  batches = pipeline.train_batches(source, transform, **options)
  try:
    return list(itertools.islice(batches, count))
  finally:
    batches.close()


def same(ours, theirs):
  assert len(ours) == len(theirs)
  for one, other in zip(ours, theirs, strict=True):
    assert one.keys() == other.keys()
    for key in one:
      np.testing.assert_array_equal(one[key], other[key])


def rows(batch):
  return [row.tobytes() for row in batch["inputs"]]


def test_batch_contract(digits):
  (batch,) = take(digits, 1)
  assert batch.keys() == {"inputs", "mask"}
  assert batch["inputs"].shape == (8, 8, 8, 1)
  assert batch["inputs"].dtype == np.uint8
  assert batch["mask"].shape == (8, 16) and batch["mask"].dtype == bool
  assert (batch["mask"].sum(1) == 7).all()
  supervised = image_transform.ImageTrainTransform(8, 2, None)
  (batch,) = take(digits, 1, supervised)
  assert batch.keys() == {"inputs", "label"}
  assert batch["label"].shape == (8,) and batch["label"].dtype == np.int32


def test_batches_depend_on_the_seed_alone(digits):
  first = take(digits, 3)
  same(first, take(digits, 3, num_threads=7))
  other = take(digits, 3, seed=2)
  assert not set(rows(first[0])) & set(rows(other[0]))


@pytest.mark.parametrize("num_workers", [1, 2])
def test_workers_change_nothing(digits, num_workers):
  expected = take(digits, 8)[3:]
  got = take(digits, 5, start_step=3, num_workers=num_workers)
  same(got, expected)


def test_resuming_continues_the_stream(digits):
  expected = take(digits, 70)  # more than an epoch of 500 / 8 batches
  same(take(digits, 2, start_step=68), expected[68:])


def test_four_processes_share_the_batches_of_one(digits):
  whole = take(digits, 3)
  shares = [take(digits, 3, process_index=p, process_count=4) for p in range(4)]
  for step, batch in enumerate(whole):
    for key in batch:
      parts = [share[step][key] for share in shares]
      assert all(len(part) == 2 for part in parts)
      # Row g of the global batch is row g // 4 of process g % 4.
      stitched = np.stack(parts, 1).reshape(batch[key].shape)
      np.testing.assert_array_equal(stitched, batch[key])


def test_every_epoch_is_complete_and_differs(digits):
  plain = image_transform.ImageTrainTransform(
    8, 2, None, crop_scale=None, flip=0, color_jitter=None
  )
  # 500 digits are 62.5 batches: the second epoch starts inside of one.
  stream = take(digits, 125, plain)
  seen = list(itertools.chain.from_iterable(map(rows, stream)))
  truth = sorted(digits[i]["image"].tobytes() for i in range(500))
  assert sorted(seen[:500]) == sorted(seen[500:]) == truth
  assert seen[:500] != seen[500:]


def test_masks_are_drawn_anew(digits):
  uniform = image_transform.ImageTrainTransform(
    8, 1, image_masks.RandomPatchMask(32)
  )
  shares = [
    take(digits, 40, uniform, process_index=p, process_count=2)
    for p in range(2)
  ]
  masks = [
    mask.tobytes() for share in shares for b in share for mask in b["mask"]
  ]
  assert len(set(masks)) == len(masks) == 320


def test_augmentation_differs_between_epochs():
  class One(sources.Digits):
    def __len__(self):
      return 1

  # Fewer examples than a batch: it repeats them, augmented anew.
  batch = take(examples.DecodedImages(One(), Form(1)), 1)[0]
  assert len(set(rows(batch))) == 8
  assert len({mask.tobytes() for mask in batch["mask"]}) > 6


@pytest.fixture
def spoiled(tmp_path):
  """Twelve files, four of them corrupt, two of these in a row."""
  rng = np.random.default_rng(0)
  for i in range(12):
    kind = ".png" if i % 2 else ".jpg"
    image = rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)
    data = cv2.imencode(kind, image)[1].tobytes()
    data = {3: data[:300], 4: b"", 8: data[:-90], 10: b"text"}.get(i, data)
    (tmp_path / f"{i:02d}{kind}").write_bytes(data)
  return examples.DecodedImages(sources.ImageFolder(str(tmp_path)), Form(3))


BAD = ["03.png", "04.jpg", "08.jpg", "10.jpg"]
WHY = [
  *("cut short", "no image that is read: empty"),
  *("cut short", "no image that is read: text"),
]


def test_corrupt_records_are_passed_over_and_listed(spoiled, tmp_path, caplog):
  log = tmp_path / "corrupt.txt"
  options = {"corrupt_log": log, "max_corrupt": 4}
  with caplog.at_level(logging.WARNING):
    batches = take(spoiled, 6, **options)
  assert all(len(batch["inputs"]) == 8 for batch in batches)
  lines = log.read_text().splitlines()
  reasons = dict(line.split("\t") for line in lines)
  assert reasons == {
    str(tmp_path / name): reason for name, reason in zip(BAD, WHY, strict=True)
  }
  assert len(caplog.records) == 4  # each once, in four epochs
  assert str(tmp_path / "08.jpg") in caplog.text

  # A resumed run reads the list, and counts only what is new.
  caplog.clear()
  same(take(spoiled, 2, start_step=4, **options), batches[4:])
  assert log.read_text().splitlines() == lines and not caplog.records
  resumed = pipeline.train_batches(
    spoiled, TRANSFORM, seed=1, batch_size=8, **options
  )
  assert resumed.num_corrupt == 4
  resumed.close()


def test_corrupt_budget(spoiled, tmp_path):
  with pytest.raises(ValueError, match="4 corrupt records are more than max_c"):
    take(spoiled, 6, batch_size=12, max_corrupt=2)
  log = tmp_path / "corrupt.txt"
  log.write_text("a.jpg\tcut short\nb.jpg\tempty\n")
  text = (
    r"=1; the first are a.jpg: cut short; b.jpg: empty \(all are in .*raise"
  )
  with pytest.raises(ValueError, match=text):
    take(spoiled, 1, corrupt_log=log, max_corrupt=1)


def test_replacements_do_not_depend_on_the_process_count(spoiled):
  whole = take(spoiled, 3)
  halves = [
    take(spoiled, 3, process_index=p, process_count=2) for p in range(2)
  ]
  for step, batch in enumerate(whole):
    stitched = np.stack([half[step]["inputs"] for half in halves], 1)
    np.testing.assert_array_equal(
      stitched.reshape(batch["inputs"].shape), batch["inputs"]
    )


@pytest.mark.parametrize("process_count", [1, 4])
@pytest.mark.parametrize("batch_size", [8, 64])
def test_evaluation_sees_each_example_once(batch_size, process_count):
  digits = examples.DecodedImages(sources.Digits("test"), Form(1))
  shares = [
    list(
      pipeline.eval_batches(
        digits,
        image_transform.ImageEvalTransform(8, resize_ratio=None),
        batch_size=batch_size,
        num_threads=2,
        process_index=p,
        process_count=process_count,
      )
    )
    for p in range(process_count)
  ]
  steps = -(-500 // batch_size)
  assert [len(share) for share in shares] == [steps] * process_count
  for p, share in enumerate(shares):
    for batch in share:
      assert batch["valid"].shape == (batch_size // process_count,)
      assert batch["valid"].dtype == bool
    joined = {k: np.concatenate([b[k] for b in share]) for k in share[0]}
    own = range(p, 500, process_count)
    assert joined["valid"].sum() == len(own)
    assert joined["valid"][: len(own)].all()  # the fill comes last
    for key in ("inputs", "label"):
      name = {"inputs": "image"}.get(key, key)
      truth = np.stack([digits[i][name] for i in own])
      np.testing.assert_array_equal(joined[key][joined["valid"]], truth)
      for fill in joined[key][len(own) :]:
        np.testing.assert_array_equal(fill, digits[499][name])


def test_evaluation_with_fewer_examples_than_processes(spoiled):
  class Three(sources.Digits):
    def __len__(self):
      return 3

  transform = image_transform.ImageEvalTransform(8, resize_ratio=None)
  few = examples.DecodedImages(Three(), Form(1))
  valid = [
    next(
      pipeline.eval_batches(
        few, transform, batch_size=8, process_index=p, process_count=4
      )
    )["valid"].tolist()
    for p in range(4)
  ]
  assert valid == [[True, False]] * 3 + [[False, False]]


def test_evaluation_leaves_out_corrupt_records(spoiled, caplog):
  transform = image_transform.ImageEvalTransform(16)
  with caplog.at_level(logging.WARNING):
    batches = list(pipeline.eval_batches(spoiled, transform, batch_size=8))
  valid = np.concatenate([batch["valid"] for batch in batches])
  bad = [int(name[:2]) for name in BAD]
  np.testing.assert_array_equal(np.flatnonzero(~valid), [*bad, 12, 13, 14, 15])
  assert len(caplog.records) == 4
  assert f"{BAD[3]}: no image that is read: text" in caplog.text


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"process_count": 3}, "batch_size=8 must be a positive multiple of the 3"),
    ({"process_index": 2, "process_count": 2}, "below process_count=2"),
    ({"start_step": -1}, "start_step must be 0 to .*, got -1"),
    ({"num_threads": 0}, "num_threads must be 1 to 1024, got 0"),
    ({"num_threads": 10**6}, "num_threads must be 1 to 1024, got 1000000"),
    ({"num_workers": -1}, "num_workers must be 0 to 256, got -1"),
    ({"num_workers": 257}, "num_workers must be 0 to 256, got 257"),
    ({"max_corrupt": -1}, "max_corrupt must be 0 to 1000000000, got -1"),
    ({"batch_size": 10**9}, "batch_size must be 1 to 1048576, got 1000000000"),
    ({"seed": -1}, "seed must be 0 to 4294967295, got -1"),
    ({"seed": 2**32}, "seed must be 0 to 4294967295, got 4294967296"),
  ],
)
def test_errors(digits, options, message):
  with pytest.raises(ValueError, match=message):
    take(digits, 1, **options)


class Ramps:
  """Sequences 1, 2, ..., n with their lengths; some records are corrupt."""

  def __init__(self, count=50, corrupt=()):
    self.lengths = np.random.default_rng(0).integers(1, 12, count)
    self._corrupt = corrupt

  def __len__(self):
    return len(self.lengths)

  def __getitem__(self, index):
    record = index
    while record in self._corrupt:
      record = (record + 1) % len(self)
    data = np.arange(1, 1 + self.lengths[record])
    return {"data": data, "requested": index, "record": record}

  def record_name(self, index):
    return f"ramp {index}"


def padded(example, rng=None):
  data = np.zeros(example["length"], int)
  cut = example["data"][: example["length"]]
  data[: len(cut)] = cut
  arrays = {"inputs": data, "id": np.int64(example["record"])}
  if rng is None:
    return arrays
  at = {name: example[name] for name in ("requested", "record")}
  return arrays | at | {"drawn": rng.random(4)}


BUCKETS = buckets.Buckets((4, 8))
IN_BUCKETS = {"transform": padded, "buckets": BUCKETS}


def test_batches_in_buckets():
  ramps = Ramps()
  batches = take(ramps, 12, **IN_BUCKETS)  # two epochs of 6
  for epoch in (batches[:6], batches[6:]):
    ids = np.concatenate([batch["id"] for batch in epoch])
    assert len(set(ids)) == len(ids) == 48
    assert {b["inputs"].shape for b in epoch} == {(8, 4), (8, 8)}
    for batch in epoch:
      filled = np.minimum(ramps.lengths[batch["id"]], batch["inputs"].shape[1])
      np.testing.assert_array_equal((batch["inputs"] > 0).sum(1), filled)
      if batch["inputs"].shape[1] == 4:
        assert ramps.lengths[batch["id"]].max() <= 4
  assert batches[0]["id"].tolist() != batches[6]["id"].tolist()
  # Each place of the stream has randomness of its own.
  drawn = np.concatenate([batch["drawn"] for batch in batches])
  assert len(np.unique(drawn)) == drawn.size


@pytest.mark.parametrize("num_workers", [0, 2])
def test_buckets_resume_with_any_number_of_workers(num_workers):
  expected = take(Ramps(), 20, **IN_BUCKETS)
  for start, count in ((0, 20), (5, 8)):
    options = {"start_step": start, "num_workers": num_workers} | IN_BUCKETS
    same(take(Ramps(), count, **options), expected[start : start + count])


def test_processes_share_buckets():
  whole = take(Ramps(), 14, **IN_BUCKETS)
  shares = [
    take(Ramps(), 14, process_index=p, process_count=2, **IN_BUCKETS)
    for p in range(2)
  ]
  for step, batch in enumerate(whole):
    for key in batch:
      stitched = np.stack([share[step][key] for share in shares], 1)
      np.testing.assert_array_equal(
        stitched.reshape(batch[key].shape), batch[key]
      )


def test_corrupt_records_in_buckets(caplog):
  with caplog.at_level(logging.WARNING):
    batches = take(Ramps(corrupt=(3, 4, 11)), 12, **IN_BUCKETS)
  assert not {3, 4, 11} & {i for b in batches for i in b["id"].tolist()}
  said = [record.getMessage() for record in caplog.records]
  assert said.pop(0).startswith("training crops")
  names = [text.split("record ")[1].split(":")[0] for text in said]
  assert sorted(names) == ["ramp 11", "ramp 3", "ramp 4"]
  with pytest.raises(ValueError, match="3 corrupt records are more than max_c"):
    take(Ramps(corrupt=(3, 4, 11)), 12, max_corrupt=2, **IN_BUCKETS)
  with pytest.raises(ValueError, match="50 examples do not fill one batch"):
    take(Ramps(), 1, batch_size=64, **IN_BUCKETS)


def test_the_first_record_stands_in_for_the_last():
  corrupt = (48, 49)
  batches = pipeline.train_batches(
    Ramps(corrupt=corrupt), seed=1, batch_size=8, num_threads=2, **IN_BUCKETS
  )
  first = list(itertools.islice(batches, 6))
  batches.close()
  assert not set(corrupt) & {i for b in first for i in b["id"].tolist()}
  assert batches.num_corrupt == 2


@pytest.mark.parametrize("process_count", [1, 2])
def test_evaluation_in_buckets(process_count, caplog):
  ramps = Ramps(corrupt=(3,))
  with caplog.at_level(logging.WARNING):
    shares = [
      list(
        pipeline.eval_batches(
          ramps,
          padded,
          batch_size=8,
          num_threads=2,
          process_index=p,
          process_count=process_count,
          buckets=BUCKETS,
        )
      )
      for p in range(process_count)
    ]
  assert [len(share) for share in shares] == [7] * process_count
  seen = []
  for parts in zip(*shares, strict=True):
    # All processes have the same length in the same step.
    assert len({part["inputs"].shape for part in parts}) == 1
    ids = np.concatenate([part["id"][part["valid"]] for part in parts])
    length = parts[0]["inputs"].shape[1]
    assert length == (4 if ramps.lengths[ids].max() <= 4 else 8)
    seen += ids.tolist()
  assert sorted(seen) == sorted(set(range(50)) - {3})
  text = caplog.text
  cut = (ramps.lengths > 8).sum()
  assert text.count(f"cuts {cut} of 50 examples") == process_count
  assert text.count("leaves out the corrupt record ramp 3") == 1
