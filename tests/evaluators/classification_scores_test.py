import numpy as np
import pytest

from d2v_jax.evaluators import EVALUATORS
from d2v_jax.evaluators.features import Predictions

classification = EVALUATORS["classification"]


def score(x, y, classes=3, **kwargs):
  """Of predicted classes x: each scores most by far."""
  scores = np.eye(classes, dtype=np.float32)[np.asarray(x)]
  y = np.asarray(y, np.int32)
  return classification(**kwargs)({kwargs.get("split", "test"): (scores, y)})


def reference(x, y, classes):
  """F1 of each class and Matthews correlation, from the confusion matrix."""
  matrix = np.zeros((classes, classes))
  for a, b in zip(y, x, strict=True):
    matrix[a, b] += 1
  right = np.diag(matrix)
  f1 = 2 * right / (matrix.sum(0) + matrix.sum(1))
  true, predicted, n = matrix.sum(1), matrix.sum(0), matrix.sum()
  above = right.sum() * n - true @ predicted
  below = (n**2 - predicted @ predicted) * (n**2 - true @ true)
  return right.sum() / n, f1, above / np.sqrt(below)


def test_two_classes_by_hand():
  # 3 true positives, 1 false positive, 2 false negatives, 4 true negatives.
  y = [1, 1, 1, 0, 1, 1, 0, 0, 0, 0]
  x = [1, 1, 1, 1, 0, 0, 0, 0, 0, 0]
  assert score(x, y, 2) == pytest.approx(
    {
      "accuracy": 0.7,
      "f1": 6 / 9,
      "accuracy_f1": (0.7 + 6 / 9) / 2,
      "matthews": (3 * 4 - 1 * 2) / np.sqrt(4 * 5 * 5 * 6),
    }
  )


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_is_the_definition(classes):
  rng = np.random.default_rng(classes)
  y = rng.integers(classes, size=200)
  x = np.where(rng.random(200) < 0.6, y, rng.integers(classes, size=200))
  accuracy, f1, matthews = reference(x, y, classes)
  f1 = f1[1] if classes == 2 else f1.mean()
  expected = {
    "accuracy": accuracy,
    "f1": f1,
    "accuracy_f1": (accuracy + f1) / 2,
    "matthews": matthews,
  }
  assert score(x, y, classes) == pytest.approx(expected)


@pytest.mark.parametrize(
  ("x", "y", "accuracy", "f1"),
  [
    ([0, 0], [0, 1], 0.5, 0),
    ([0, 0], [0, 0], 1, 0),
    ([1, 1], [1, 1], 1, 1),
    ([1, 1], [0, 0], 0, 0),
    ([2, 2], [2, 2], 1, 1),
  ],
)
def test_where_matthews_is_not_defined(x, y, accuracy, f1):
  mean = (accuracy + f1) / 2
  assert score(x, y) == {
    "accuracy": accuracy,
    "f1": f1,
    "accuracy_f1": mean,
    "matthews": 0,
    "classes": len(set(y)),
  }


@pytest.mark.parametrize("classes", [6, 20])
def test_top5_is_that_of_sorted_scores(classes):
  rng = np.random.default_rng(classes)
  scores = rng.normal(size=(300, classes)).astype(np.float32)
  y = rng.integers(classes, size=300).astype(np.int32)
  best = np.argsort(-scores, axis=1)
  got = classification()({"test": (scores, y)})
  assert got["accuracy"] == pytest.approx((best[:, 0] == y).mean())
  expected = (best[:, :5] == y[:, None]).any(1).mean()
  assert got["top5_accuracy"] == pytest.approx(expected)


def test_top5_of_equal_scores():
  # Ten equal ones: the first five come first, as the first is the prediction.
  scores, y = np.zeros((10, 10), np.float32), np.arange(10, dtype=np.int32)
  got = classification()({"test": (scores, y)})
  assert (got["accuracy"], got["top5_accuracy"]) == (0.1, 0.5)


def test_no_top5_of_five_classes():
  assert "top5_accuracy" not in score([1, 2], [1, 1], classes=5)
  assert score([1, 2], [1, 1], classes=6)["top5_accuracy"] == 1


def test_asks_for_scores_of_its_split():
  assert classification().features == Predictions("test", scores=True)
  assert classification(split="train").features == Predictions("train", True)
  assert score([1], [1], split="train")["accuracy"] == 1


@pytest.mark.parametrize(
  ("x", "y", "message"),
  [
    (np.zeros(2), np.zeros(2, int), r"scores are float64 of shape \(2,\)"),
    (np.zeros((2, 3), int), np.zeros(2, int), r"int64 of shape \(2, 3\)"),
    (np.zeros((2, 3)), np.zeros(2), "one class number >= 0"),
    (np.zeros((2, 3)), None, "split 'test' has no labels"),
    (np.zeros((2, 3)), np.array([0, 3]), "has label 3, but the model has 3"),
  ],
)
def test_errors(x, y, message):
  with pytest.raises(ValueError, match=message):
    classification()({"test": (x, y)})
