import logging
import pickle
import sys

import numpy as np
import pytest
from scipy import stats

from d2v_jax.data.buckets import (
  Buckets,
  BucketStream,
  SortedByLength,
  epoch_batches,
  growing,
)

BUCKETS = Buckets((10, 20, 40))
LENGTHS = np.random.default_rng(0).integers(1, 50, 103)


class Lines:
  """Examples that are their own number."""

  def __init__(self, lengths=LENGTHS):
    self.lengths = np.asarray(lengths)

  def __len__(self):
    return len(self.lengths)

  def __getitem__(self, index):
    assert type(index) is int
    return {"requested": index, "record": index}

  def record_name(self, index):
    return f"line {index}"


def smallest_that_holds(length):
  return next((b for b in BUCKETS.lengths if b >= length), BUCKETS.lengths[-1])


def test_examples_are_in_the_smallest_bucket_that_holds_them():
  lengths = np.array([[1, 10, 11], [20, 40, 41]])
  np.testing.assert_array_equal(BUCKETS.assign(lengths), [[0, 0, 1], [1, 2, 2]])
  expected = [smallest_that_holds(n) for n in LENGTHS]
  ours = np.array(BUCKETS.lengths)[BUCKETS.assign(LENGTHS)]
  np.testing.assert_array_equal(ours, expected)


@pytest.mark.parametrize("batch_size", [1, 4, 8, 103])
def test_an_epoch_has_each_example_at_most_once(batch_size):
  assigned = BUCKETS.assign(LENGTHS)
  for epoch in range(30):
    examples, buckets = epoch_batches(assigned, batch_size, 5, epoch)
    assert examples.shape == (103 // batch_size, batch_size)
    assert buckets.shape == (103 // batch_size,)
    used = examples.ravel().tolist()
    assert len(set(used)) == len(used) == 103 // batch_size * batch_size
    for batch, bucket in zip(examples, buckets, strict=True):
      # Some are of this very bucket, the others have moved up.
      assert assigned[batch].max() == bucket
    for bucket in range(3):
      mixed = [b for b in examples[buckets == bucket] if np.ptp(assigned[b])]
      assert len(mixed) <= 1


def test_all_examples_are_left_out_equally_often():
  assigned = np.zeros(103, int)
  assigned[7] = 2  # a single long one
  epochs, share = 1000, 7 / 103
  used = np.zeros(103, int)
  for epoch in range(epochs):
    examples, buckets = epoch_batches(assigned, 8, 0, epoch)
    used[examples.ravel()] += 1
    assert (buckets == 2).sum() == (7 in examples)
  z = (used - epochs * (1 - share)) / np.sqrt(epochs * share * (1 - share))
  # A fixed seed, and a level that only says how unlikely a failure was.
  assert np.abs(z).max() < stats.norm.isf(1e-3 / 2 / 103)


def test_left_over_examples_move_up_one_bucket():
  # Three short, three middle and two long ones, in batches of two.
  assigned = np.array([0, 0, 0, 1, 1, 1, 2, 2])
  for epoch in range(20):
    examples, buckets = epoch_batches(assigned, 2, 0, epoch)
    assert sorted(buckets) == [0, 1, 1, 2]
    kinds = {tuple(sorted(assigned[batch])) for batch in examples}
    assert kinds == {(0, 0), (0, 1), (1, 1), (2, 2)}
  # Four of them are left over in turn, and meet in the last bucket.
  examples, buckets = epoch_batches(np.array([0, 1, 2, 2]), 4, 0, 0)
  assert buckets.tolist() == [2] and sorted(examples[0]) == [0, 1, 2, 3]
  # Where no larger one has examples there is nothing to move up to.
  examples, buckets = epoch_batches(np.array([1, 1, 1, 1, 1]), 2, 0, 0)
  assert buckets.tolist() == [1, 1]


def test_epochs_and_seeds_differ():
  assigned = BUCKETS.assign(LENGTHS)
  orders = {
    epoch_batches(assigned, 8, seed, epoch)[0].tobytes()
    for seed in range(3)
    for epoch in range(3)
  }
  assert len(orders) == 9
  # The batches are shuffled, too: long ones do not come last.
  first = [epoch_batches(assigned, 8, 0, epoch)[1][0] for epoch in range(40)]
  assert set(first) == {0, 1, 2}


def test_stream_goes_through_the_epochs():
  stream = BucketStream(Lines(), BUCKETS, 8, seed=5)
  assert len(stream) == sys.maxsize
  for epoch in (0, 1, 7, 1):
    examples, buckets = epoch_batches(BUCKETS.assign(LENGTHS), 8, 5, epoch)
    for row, index in enumerate(examples.ravel().tolist()):
      length = BUCKETS.lengths[buckets[row // 8]]
      expected = {"requested": index, "record": index, "length": length}
      assert stream[epoch * 96 + row] == expected
  assert len(stream._epochs) == 2  # older orders are forgotten
  copy = pickle.loads(pickle.dumps(stream))
  assert [copy[g] for g in range(30)] == [stream[g] for g in range(30)]


@pytest.mark.parametrize("batch_size", [1, 8, 103, 200])
def test_evaluation_is_in_order_of_length(batch_size):
  ordered = SortedByLength(Lines(), BUCKETS, batch_size)
  items = [ordered[i] for i in range(len(ordered))]
  expected = sorted(range(103), key=lambda i: LENGTHS[i])
  assert [item["record"] for item in items] == expected
  assert ordered.record_name(3) == f"line {expected[3]}"
  for start in range(0, 103, batch_size):
    batch = items[start : start + batch_size]
    longest = max(LENGTHS[item["record"]] for item in batch)
    assert {item["length"] for item in batch} == {smallest_that_holds(longest)}


def test_evaluation_says_what_it_cuts(caplog):
  with caplog.at_level(logging.WARNING):
    SortedByLength(Lines([3, 40]), BUCKETS, 2)
    assert not caplog.records
    SortedByLength(Lines([3, 41, 50]), BUCKETS, 2)
  (record,) = caplog.records
  assert "cuts 2 of 3 examples to the largest bucket, 40" in record.getMessage()


@pytest.mark.parametrize("lengths", [(), (0, 4), (4, 4), (8, 4), (-1,)])
def test_wrong_buckets(lengths):
  with pytest.raises(ValueError, match="positive numbers in ascending order"):
    Buckets(lengths)
  with pytest.raises(ValueError, match="lengths must be 1 to 2147483647, got"):
    Buckets((4, 2**31))


def test_too_few_examples():
  text = "103 examples do not fill one batch of batch_size=104.* lower batch_si"
  with pytest.raises(ValueError, match=text):
    BucketStream(Lines(), BUCKETS, 104, 0)


def test_sources_without_lengths():
  with pytest.raises(ValueError, match="list has no lengths of its 2 examples"):
    BucketStream([1, 2], BUCKETS, 1, 0)
  wrong = Lines()
  wrong.lengths = LENGTHS[:5]
  wrong.__class__ = type("Wrong", (Lines,), {"__len__": lambda self: 6})
  with pytest.raises(ValueError, match="Wrong has no lengths of its 6"):
    SortedByLength(wrong, BUCKETS, 1)


def test_what_training_crops_is_said(caplog):
  assert Buckets((20,)).discarded(np.array([10, 20, 30, 40])) == pytest.approx(
    0.3
  )
  assert Buckets((15, 40)).discarded(np.array([10, 40])) == 0
  assert BUCKETS.discarded(np.zeros(0, np.int64)) == 0
  with caplog.at_level(logging.WARNING):
    BucketStream(Lines([10, 40, 41, 159]), BUCKETS, 2, seed=0)
    BucketStream(Lines([10, 40, 20, 40]), BUCKETS, 2, seed=0)
  [message] = [record.getMessage() for record in caplog.records]
  # 1 + 119 of 250.
  assert message.startswith(
    "training crops 2 of 4 examples to the largest bucket, 40: 48 % of all"
  )


def test_growing():
  lengths = growing(16, 512).lengths
  assert lengths[0] == 16 and lengths[-1] == 512 and len(lengths) == 17
  ratios = np.array(lengths[1:]) / lengths[:-1]
  assert ratios.max() <= 1.3
  assert growing(16, 7).lengths == (7,)
