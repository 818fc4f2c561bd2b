import numpy as np
import pytest

from d2v_jax.evaluators.mean_average_precision import MeanAveragePrecision

LABELS = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 0]], bool)
SCORES = np.array(
  [[0.9, 0.1, 0.0], [0.8, 0.7, 0.0], [0.2, 0.6, 0.0], [0.1, 0.8, 0.0]],
  np.float32,
)


def test_by_hand():
  found = MeanAveragePrecision()({"test": (SCORES, LABELS)})
  # Class 0 ranks its examples first and third, class 1 second and third; no
  # example has class 2. All pairs in order: +, two equal ones -, +, +, +.
  first, second = (1 / 1 + 2 / 3) / 2, (1 / 2 + 2 / 3) / 2
  assert found["map"] == pytest.approx((first + second) / 2)
  assert found["chance"] == 0.5 and found["classes"] == 2
  micro = (1 / 1 + 2 / 4 + 3 / 5 + 4 / 6) / 4
  assert found["micro_ap"] == pytest.approx(micro)


def test_scores_without_meaning_reach_chance():
  rng = np.random.default_rng(0)
  labels = rng.random((4000, 4)) < [0.05, 0.1, 0.2, 0.3]
  scores = rng.normal(size=labels.shape).astype(np.float32)
  found = MeanAveragePrecision(split="test_b")({"test_b": (scores, labels)})
  assert found["map"] == pytest.approx(found["chance"], abs=0.02)
  right = MeanAveragePrecision()({"test": (labels.astype(np.float32), labels)})
  assert right["map"] == right["micro_ap"] == 1


@pytest.mark.parametrize(
  ("scores", "labels", "message"),
  [
    (SCORES, None, r"needs bool labels \[n, C\]; got none"),
    (SCORES, np.arange(4), r"got int64 \(4,\); choose a source"),
    (SCORES[:, :2], LABELS, r"of shape \(4, 2\) and labels of shape \(4, 3\)"),
    (SCORES, LABELS & False, "no example of split 'test' has any class"),
  ],
)
def test_errors(scores, labels, message):
  with pytest.raises(ValueError, match=message):
    MeanAveragePrecision()({"test": (scores, labels)})
