"""Accuracy of predicted classes, also where classes are unequal."""

import logging

import numpy as np

# Times that the most frequent class may have the examples of the rarest one
# before accuracy alone would mislead.
UNEQUAL = 2
# Of more classes nobody reads the numbers one by one.
_TOLD_APART = 20


def class_accuracies(
  predictions: np.ndarray, y: np.ndarray, trained: np.ndarray
) -> dict[str, float]:
  """Compares predicted classes with the right ones.

  Args:
    predictions: [n] int.
    y: [n] int.
    trained: [m] int, classes of what the predictions were learned from.

  Returns:
    `accuracy`; and where the most frequent class of `y` has over twice the
    examples of the rarest one also `balanced_accuracy`, the mean of the
    accuracies of its classes, and of up to 20 classes each of these,
    `accuracy_of_class_00` and so on. Where classes are missing, what
    `missing_classes` says.
  """
  right = predictions == y
  results = {"accuracy": float(np.mean(right))}
  results |= missing_classes(np.unique(y), np.unique(trained))
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


def missing_classes(
  measured: np.ndarray, trained: np.ndarray
) -> dict[str, float]:
  """Tells where an accuracy is one of fewer classes than there are.

  As where no file of a class could be read, or all examples are of one.

  Args:
    measured: classes that have test examples, int.
    trained: classes that have training examples, int.

  Returns:
    `classes`, how many have test examples, where that is one alone or fewer
    than there are; `trained_classes` where fewer have training examples. A
    warning says so, too.
  """
  all_classes = np.union1d(measured, trained)
  told = {}
  if len(measured) == 1 or len(measured) < len(all_classes):
    told["classes"] = float(len(measured))
    logging.warning(
      "accuracy is of %d of %d classes: no test example is of the others%s",
      len(measured),
      len(all_classes),
      ", and to predict that one is no merit" if len(measured) == 1 else "",
    )
  if len(trained) < len(all_classes):
    told["trained_classes"] = float(len(trained))
    logging.warning(
      "%d of %d classes have no training example: they cannot be predicted",
      len(all_classes) - len(trained),
      len(all_classes),
    )
  return told


def unequal(y: np.ndarray) -> bool:
  """Whether classes [n] differ in how many examples they have."""
  _, counts = np.unique(y, return_counts=True)
  return bool(np.max(counts) > UNEQUAL * np.min(counts))
