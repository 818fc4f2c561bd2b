import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, recall_score

from d2v_jax.evaluators.class_accuracies import class_accuracies


def test_equal_classes_have_one_number():
  y = np.array([0, 0, 0, 0, 1, 1])  # 4 is twice 2
  assert class_accuracies(np.array([0, 0, 0, 1, 1, 0]), y, y) == {
    "accuracy": 4 / 6
  }


def test_unequal_classes_as_sklearn_has_them():
  rng = np.random.default_rng(0)
  y = rng.choice([0, 2, 5], 200, p=[0.7, 0.2, 0.1])
  predictions = np.where(rng.random(200) < 0.6, y, 0)
  got = class_accuracies(predictions, y, y)
  assert got.pop("accuracy") == np.mean(predictions == y)
  expected = balanced_accuracy_score(y, predictions)
  assert got.pop("balanced_accuracy") == pytest.approx(expected, abs=1e-12)
  each = recall_score(y, predictions, average=None)
  names = [f"accuracy_of_class_{c:02}" for c in (0, 2, 5)]
  assert got == pytest.approx(dict(zip(names, each, strict=True)), abs=1e-12)


def test_a_majority_is_no_better_than_chance():
  y = np.array([0] * 9 + [1])
  got = class_accuracies(np.zeros(10, int), y, y)
  assert (got["accuracy"], got["balanced_accuracy"]) == (0.9, 0.5)


def test_of_many_classes_there_is_the_mean_alone():
  y = np.concatenate([np.zeros(9, int), np.arange(21)])
  assert class_accuracies(y, y, y) == {"accuracy": 1, "balanced_accuracy": 1}


@pytest.mark.parametrize(
  ("y", "trained", "told", "text"),
  [
    ([2, 2], [2, 2], {"classes": 1}, "accuracy is of 1 of 1 classes"),
    ([0, 1], [0, 1, 2], {"classes": 2}, "accuracy is of 2 of 3 classes"),
    ([0, 1, 2], [0, 1], {"trained_classes": 2}, "1 of 3 classes have no train"),
    ([0, 1], [0, 1], {}, ""),
  ],
)
def test_missing_classes_are_told(caplog, y, trained, told, text):
  y = np.array(y)
  got = class_accuracies(y, y, np.array(trained))
  assert got == {"accuracy": 1} | told
  assert text in caplog.text
  assert bool(caplog.text) == bool(told)
