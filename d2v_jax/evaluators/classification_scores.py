"""Scores of predicted classes."""

from __future__ import annotations

import dataclasses

import numpy as np

from d2v_jax.evaluators.class_accuracies import missing_classes
from d2v_jax.evaluators.features import Predictions, SplitFeatures, labelled


@dataclasses.dataclass(frozen=True)
class ClassificationScores:
  """Accuracy, F1 and Matthews correlation of an objective's scores.

  Args:
    split: Which split.

  Source: the metrics of GLUE, arXiv:1804.07461.
  """

  split: str = "test"

  @property
  def features(self) -> Predictions:
    """What this evaluator asks for."""
    return Predictions(self.split, scores=True)

  def __call__(self, features: SplitFeatures) -> dict[str, float]:
    """Returns `accuracy`, `f1` and `matthews`, of the class that scores most.

    And `accuracy_f1`, the mean of the first two, as GLUE scores MRPC and QQP.
    And `top5_accuracy`, if there are more than 5 classes: the share of examples
    whose class is among the five that score most.

    And where there are no examples of some classes what `missing_classes`
    says.

    F1 is that of class 1 if there is no class above 1, else the mean over
    classes that occur. Matthews correlation is 0 where it is not defined, for
    instance if all predictions are the same.

    Args:
      features: The split's scores [n, C] float32 and labels [n].

    Raises:
      ValueError: If there are no scores of classes, or labels are not class
        numbers below C.
    """
    from sklearn import metrics  # slow to import

    scores, y = labelled(features, self.split)
    if scores.ndim != 2 or not np.issubdtype(scores.dtype, np.floating):
      raise ValueError(
        f"ClassificationScores: scores are {scores.dtype} of shape "
        f"{scores.shape}; this evaluator needs one for each class, as "
        "objective 'classification' makes"
      )
    if y.max() >= scores.shape[1]:
      raise ValueError(
        f"ClassificationScores: split {self.split!r} has label {y.max()}, but "
        f"the model has {scores.shape[1]} classes; evaluate on the classes "
        "that it was trained on"
      )
    x = scores.argmax(1)
    classes = np.union1d(x, y)
    f1 = metrics.f1_score(
      y,
      x,
      labels=[1] if classes.max() <= 1 else classes,
      average="macro",
      zero_division=0.0,
    )
    # scikit-learn warns where there is one class only.
    matthews = metrics.matthews_corrcoef(y, x) if len(classes) > 1 else 0.0
    accuracy = float(np.mean(x == y))
    results = {
      "accuracy": accuracy,
      "f1": float(f1),
      "accuracy_f1": (accuracy + float(f1)) / 2,
      "matthews": float(matthews),
    }
    # Its head knows all classes.
    results |= missing_classes(np.unique(y), np.arange(scores.shape[1]))
    if scores.shape[1] > 5:
      results["top5_accuracy"] = float(np.mean(_rank(scores, y) < 5))
    return results


def _rank(scores: np.ndarray, y: np.ndarray) -> np.ndarray:
  """How many classes [n] come before class y; of equal ones, the lower do."""
  of_y = np.take_along_axis(scores, y[:, None], 1)  # [n, 1]
  lower = np.arange(scores.shape[1]) < y[:, None]  # [n, C]
  return ((scores > of_y) | ((scores == of_y) & lower)).sum(1)
