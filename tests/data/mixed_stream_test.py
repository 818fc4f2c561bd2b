import itertools

import numpy as np
import pytest

from d2v_jax import main
from d2v_jax.data import pipeline
from d2v_jax.data.buckets import Buckets
from d2v_jax.data.mixed_examples import MixedExamples
from d2v_jax.data.mixture import Mixture
from tests import runs

BUCKETS = Buckets((4, 8))


class Ramps:
  """Examples of a first number and a length; some are corrupt."""

  def __init__(self, first, size, corrupt=()):
    self._first, self._corrupt = first, corrupt
    self.lengths = 1 + np.arange(size) % 8

  def __len__(self):
    return len(self.lengths)

  def __getitem__(self, index):
    record = index
    while record in self._corrupt:
      record = (record + 1) % len(self)
    return {"id": self._first + record, "requested": index, "record": record}

  def record_name(self, index):
    return f"ramp {self._first + index}"


def ramps(corrupt=()):
  parts = [Ramps(0, 20, corrupt), Ramps(100, 90)]
  sections = ({"name": "a"}, {"name": "b"})
  return MixedExamples(parts, Mixture(sources=sections, weights=(3, 1)))


def drawing(example, rng):
  kept = {k: example[k] for k in ("requested", "record")}
  return {"id": example["id"], "drawn": rng.integers(2**40), **kept}


def stream(source, **options):
  defaults = {"seed": 1, "batch_size": 8, "num_threads": 2}
  return pipeline.train_batches(source, drawing, **(defaults | options))


def take(count, source=None, **options):
  batches = stream(source or ramps(), **options)
  try:
    return list(itertools.islice(batches, count))
  finally:
    batches.close()


def ids(batches):
  return np.concatenate([batch["id"] for batch in batches])


def test_an_epoch_is_the_draw_in_another_order_each_time():
  source = ramps()
  seen = ids(take(55)).reshape(4, 110)
  for epoch in range(4):
    drawn = source.drawn(1, epoch)
    truth = np.where(drawn < 20, drawn, drawn + 80)
    np.testing.assert_array_equal(np.sort(seen[epoch]), np.sort(truth))
    assert (seen[epoch] < 100).sum() == 83  # 82.5 of 110; of equal rests
  # The sources are mixed within an epoch, not one after the other.
  assert 0.5 < (seen[:, :40] < 100).mean() < 1


@pytest.mark.parametrize("buckets", [None, BUCKETS])
@pytest.mark.parametrize(
  "num_workers", [0, pytest.param(2, marks=pytest.mark.slow)]
)
def test_resuming_continues_the_stream(buckets, num_workers):
  expected = take(40, buckets=buckets)
  for start, count in ((0, 3), (20, 20)):
    options = {"start_step": start, "num_workers": num_workers}
    got = take(count, buckets=buckets, **options)
    for one, other in zip(got, expected[start : start + count], strict=True):
      for key in one:
        np.testing.assert_array_equal(one[key], other[key])


def test_buckets_keep_the_shares():
  batches = take(13 * 60, buckets=BUCKETS)  # an epoch is 13 batches of 8
  share = (ids(batches) < 100).mean()
  # 6 of 110 sit out each epoch, whichever their source.
  assert share == pytest.approx(83 / 110, abs=0.005)


@pytest.mark.parametrize("buckets", [None, BUCKETS])
def test_shares_are_those_of_the_batches(buckets):
  batches = stream(ramps(), buckets=buckets)
  taken = list(itertools.islice(batches, 30))
  batches.close()
  for start, stop in ((0, 1), (7, 30)):
    share = (ids(taken[start:stop]) < 100).mean()
    found = batches.mixed.shares(start, stop)
    assert found.pop("share/a") == pytest.approx(share)
    assert found.pop("share/b") == pytest.approx(1 - share)
    assert found == {"share_wanted/a": 0.75, "share_wanted/b": 0.25}


def test_corrupt_examples_are_counted_within_their_source(tmp_path):
  log = tmp_path / "corrupt.txt"
  batches = stream(ramps(corrupt=(18, 19)), corrupt_log=log)
  taken = list(itertools.islice(batches, 30))
  batches.close()
  # The first of the same source stands in for its last ones.
  assert not set(ids(taken).tolist()) & {18, 19} and batches.num_corrupt == 2
  names = [line.split("\t")[0] for line in log.read_text().splitlines()]
  assert sorted(names) == ["ramp 18", "ramp 19"]


SOURCE = """\
  c.data.source = dict(
    name="mixture",
    sources=[
      dict(name="digits", split="train"), dict(name="digits", split="test")
    ],
    weights=WEIGHTS,
    names=("train", "test"),
  )
"""


@pytest.mark.slow
def test_a_run(tmp_path, capsys):
  def run(weights):
    text = (runs.ROOT / runs.TINY).read_text()
    text = text.replace("  c.encoder", SOURCE + "  c.encoder", 1)
    text = text.replace("log_every = 1", "log_every = 4")
    config = tmp_path / "mixed.py"
    config.write_text(text.replace("WEIGHTS", repr(weights)))
    arguments = ["--config.num_devices=1", "--config.evaluation.every=0"]
    files = [f"--config={config}", f"--workdir={tmp_path / 'run'}"]
    return main.main([*files, *arguments])

  assert run((1, 3)) == 0
  out = capsys.readouterr().out
  assert "mixture: train 0.25 (an epoch has 449 of its 1297 examples); " in out
  assert "test 0.75 (an epoch has 1348 of its 500 examples, each 2.7 tim" in out
  lines = [x for x in runs.metrics(tmp_path / "run") if "loss" in x]
  assert [x["step"] for x in lines] == [4, 8, 12]
  for line in lines:
    assert line["share_wanted/train"] == 0.25
    assert line["share/train"] + line["share/test"] == pytest.approx(1)
    assert line["share/train"] * 64 == round(line["share/train"] * 64)
  assert run((1, 2)) == 2
  error = capsys.readouterr().err
  assert "data.source.weights: [1, 3] -> [1, 2]" in error
