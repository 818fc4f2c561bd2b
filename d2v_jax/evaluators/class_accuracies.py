"""Accuracy of predicted classes, also where classes are unequal."""

import numpy as np

# Times that the most frequent class may have the examples of the rarest one
# before accuracy alone would mislead.
UNEQUAL = 2
# Of more classes nobody reads the numbers one by one.
_TOLD_APART = 20


def class_accuracies(
  predictions: np.ndarray, y: np.ndarray
) -> dict[str, float]:
  """Compares predicted classes with the right ones.

  Args:
    predictions: [n] int.
    y: [n] int.

  Returns:
    `accuracy`; and where the most frequent class of `y` has over twice the
    examples of the rarest one also `balanced_accuracy`, the mean of the
    accuracies of its classes, and of up to 20 classes each of these,
    `accuracy_of_class_00` and so on.
  """
  right = predictions == y
  results = {"accuracy": float(np.mean(right))}
  if not unequal(y):
    return results
  classes = np.unique(y)
  each = [float(np.mean(right[y == c])) for c in classes]
  results["balanced_accuracy"] = float(np.mean(each))
  if len(classes) <= _TOLD_APART:
    results |= {
      f"accuracy_of_class_{c:02}": value
      for c, value in zip(classes, each, strict=True)
    }
  return results


def unequal(y: np.ndarray) -> bool:
  """Whether classes [n] differ in how many examples they have."""
  _, counts = np.unique(y, return_counts=True)
  return bool(np.max(counts) > UNEQUAL * np.min(counts))
