import numpy as np
import pytest

from d2v_jax.evaluators import EVALUATORS
from d2v_jax.evaluators.features import Predictions

classification = EVALUATORS["classification"]


def score(x, y, **kwargs):
  x, y = np.asarray(x, np.int32), np.asarray(y, np.int32)
  return classification(**kwargs)({kwargs.get("split", "test"): (x, y)})


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
  assert score(x, y) == pytest.approx(
    {
      "accuracy": 0.7,
      "f1": 6 / 9,
      "matthews": (3 * 4 - 1 * 2) / np.sqrt(4 * 5 * 5 * 6),
    }
  )


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_is_the_definition(classes):
  rng = np.random.default_rng(classes)
  y = rng.integers(classes, size=200)
  x = np.where(rng.random(200) < 0.6, y, rng.integers(classes, size=200))
  accuracy, f1, matthews = reference(x, y, classes)
  expected = {
    "accuracy": accuracy,
    "f1": f1[1] if classes == 2 else f1.mean(),
    "matthews": matthews,
  }
  assert score(x, y) == pytest.approx(expected)


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
  assert score(x, y) == {"accuracy": accuracy, "f1": f1, "matthews": 0}


def test_asks_for_predictions_of_its_split():
  assert classification().features == Predictions("test")
  assert classification(split="train").features == Predictions("train")
  assert score([1], [1], split="train")["accuracy"] == 1


@pytest.mark.parametrize(
  ("x", "y", "message"),
  [
    (np.zeros(2), np.zeros(2, int), r"predictions are float64 of shape \(2,\)"),
    (np.zeros((2, 3), int), np.zeros(2, int), r"int64 of shape \(2, 3\)"),
    (np.zeros(2, int), np.zeros(2), "one class number >= 0"),
    (np.zeros(2, int), None, "split 'test' has no labels"),
  ],
)
def test_errors(x, y, message):
  with pytest.raises(ValueError, match=message):
    classification()({"test": (x, y)})
