import numpy as np
import pytest

from tests.goldens import span_masks, statistics
from tests.goldens.made_up import check, skips
from tests.goldens.options import Options

SPANS = {"B": 2, "T": 60, "mask_prob": 0.2, "mask_length": 5, "min_masks": 4}


def span_arrays(options, batches=300):
  setting = span_masks._read(Options(options))
  masks = np.array([setting.masks(1234, e, 0) for e in range(batches)])
  total = options["T"]
  runs = [statistics.runs(row) for row in masks.reshape(-1, total)]
  histogram = statistics.histogram
  return {
    "pos_count": masks.sum(0),
    "count_hist": np.array([histogram(c, total) for c in masks.sum(2).T]),
    "run_len_hist": histogram(np.concatenate(runs), total),
    "n_runs_hist": histogram([len(r) for r in runs], total),
    "n_batches": np.array(batches),
    "n_fail": np.array(0),
  }


@pytest.mark.parametrize(
  "changes",
  [
    {},
    {"require_same_masks": False},
    {"T": 19, "mask_length": 3, "min_masks": 5},
    {"lengths": [60, 33], "min_masks": 2},
    {"mask_type": "static", "mask_other": 3.0, "mask_dropout": 0.0},
  ],
)
def test_spans_that_are_built(changes):
  options = SPANS | changes
  check(span_masks.GROUPS, "head", options, span_arrays(options))


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"mask_dropout": 0.1}, r"mask_dropout=0\.1"),
    ({"add_masks": True}, "add_masks=True"),
    ({"mask_type": "normal", "mask_other": 2}, "mask_type='normal'"),
    ({"no_overlap": True}, "no_overlap=True"),
    ({"num_mask_ver": 1}, "num_mask_ver=1"),
  ],
)
@pytest.mark.parametrize("name", ["exact", "head"])
def test_spans_that_are_not_built(name, changes, message):
  with skips(f"option {name}/m: {message}"):
    check(span_masks.GROUPS, name, SPANS | changes, {})


def test_more_spans_than_the_frames_have_starts():
  options = SPANS | {"T": 12, "mask_length": 10, "min_masks": 2}
  setting = span_masks._read(Options(options))
  rows = np.ones((3, 12), bool)
  with skips("min_masks=2, mask_length=10: with 12 frames"):
    span_masks._check_ours(setting, 12, rows)
