"""Span masks of speech against those of the reference code.

The reference's rules as written down in tests/reference reproduce its masks and
its statistics exactly, so where ours depart from the reference's batches they
can be compared with its rows.
"""

import dataclasses
from unittest import mock

import numpy as np
import pytest

from d2v_jax.data.masks.speech import SpanMask
from tests.data.masks import examples
from tests.goldens import statistics
from tests.goldens.options import Options
from tests.goldens.pure import Group, Pure
from tests.reference import masking as reference


@dataclasses.dataclass(frozen=True)
class _Setting:
  """Spans in one batch: frames of its rows, padded to `total`."""

  sizes: tuple[int, ...]
  total: int
  prob: float
  length: int
  min_masks: int
  equal: bool

  def masks(self, seed: int, epoch: int, first: int) -> np.ndarray:
    """The reference's batch of rows with indices from `first` on."""
    rows = range(first, first + len(self.sizes))
    rngs = [reference.row_rng(seed, epoch, row) for row in rows]
    return self._draw(rngs, self.sizes, self.total)

  def alone(self, rng: np.random.Generator, size: int) -> np.ndarray:
    """A row that is a whole batch, which is not equalised with others."""
    return self._draw([rng], [size], size)[0]

  def _draw(self, rngs, sizes, total):
    return reference.span_masks(
      rngs, sizes, total, self.prob, self.length, self.min_masks, self.equal
    )


def _read(o: Options) -> _Setting:
  sizes = o.get("lengths", [o["T"]] * o["B"])
  o.only("mask_type", "static")
  o.ignore("of spans of random length", "mask_other")
  o.off("no_overlap", "mask_dropout", "add_masks")
  o.ignore("of spans that do not overlap", "min_space")
  o.only("idc_select_ver", 1)
  o.only("num_mask_ver", 2)
  setting = _Setting(
    tuple(sizes),
    o["T"],
    o["mask_prob"],
    o["mask_length"],
    o.get("min_masks", 0),
    o.get("require_same_masks", True),
  )
  o.finish()
  return setting


def _exact(case: Pure) -> None:
  """The reference's masks of some batches, bit for bit."""
  setting = _read(case.options)
  masks = [setting.masks(7, e, 100) for e in range(len(case.golden[""]))]
  np.testing.assert_array_equal(np.packbits(masks, axis=-1), case.golden[""])


def _statistics(case: Pure) -> None:
  """Its statistics, and ours next to them."""
  setting, golden = _read(case.options), case.golden
  if golden.get("n_fail", 0):
    pytest.skip(f"n_fail={golden['n_fail']}: batches with nothing visible")
  batches, total = int(golden["n_batches"]), setting.total
  masks = np.array([setting.masks(1234, e, 0) for e in range(batches)])
  np.testing.assert_array_equal(masks.sum(0), golden["pos_count"])
  np.testing.assert_array_equal(
    [statistics.histogram(row, total) for row in masks.sum(2).T],
    golden["count_hist"],
  )
  runs = [statistics.runs(row) for row in masks.reshape(-1, total)]
  np.testing.assert_array_equal(
    statistics.histogram(np.concatenate(runs), total), golden["run_len_hist"]
  )
  np.testing.assert_array_equal(
    statistics.histogram([len(r) for r in runs], total), golden["n_runs_hist"]
  )
  for size in sorted(set(setting.sizes)):
    rng = np.random.default_rng(0)
    alone = [setting.alone(rng, size) for _ in range(batches)]
    single = len(setting.sizes) == 1  # then the golden statistics are theirs
    _check_ours(setting, size, masks[:, 0] if single else np.array(alone))


def _check_ours(setting: _Setting, size: int, theirs: np.ndarray) -> None:
  """Ours differ from rows of the reference by the exact count alone."""
  settings = setting.prob, setting.length, setting.min_masks
  most = max(setting.min_masks, int(setting.prob * size / setting.length) + 1)
  if size - setting.length <= most:
    pytest.skip(
      f"options min_masks={setting.min_masks}, mask_length={setting.length}: "
      f"with {size} frames the reference shortens spans to place them all"
    )
  span_mask, rng = SpanMask(*settings), np.random.default_rng(1)
  count = span_mask.count(size)
  example = examples.padded(size)

  def draw():
    return span_mask(rng, example)["mask"]

  counts = {int(draw().sum()) for _ in range(100)}
  assert counts == {count}
  statistics.check_count(count, theirs.sum(1), 0.5)

  ours = []
  for number in theirs.sum(1):
    with mock.patch.object(SpanMask, "count", return_value=int(number)):
      ours.append(draw())
  statistics.check_positions(np.array(ours), theirs.sum(0))
  # A last span that is cut adds to the runs, the more the shorter the input.
  runs = [
    np.mean([len(statistics.runs(row)) for row in rows])
    for rows in (ours, theirs)
  ]
  np.testing.assert_allclose(*runs, rtol=0.1, atol=0.1)


def _older(case: Pure) -> None:
  """The release before has another rule, which nothing here follows."""
  pytest.skip("v0.12.2: one number of spans for a batch; we follow the later")


GROUPS = {
  "exact": Group(_exact, "{member}"),
  "head": Group(_statistics, "{member}"),
  "v0.12.2": Group(_older),
}
