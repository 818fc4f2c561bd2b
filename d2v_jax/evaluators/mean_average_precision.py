"""Scores of examples that have any number of classes."""

from __future__ import annotations

import dataclasses

import numpy as np

from d2v_jax.evaluators.features import Predictions, SplitFeatures


@dataclasses.dataclass(frozen=True)
class MeanAveragePrecision:
  """How well each class ranks the examples that have it above the others.

  Args:
    split: Which split.

  Source: the metric of AudioSet (Gemmeke et al. 2017); average precision as
  scikit-learn defines it, the sum over thresholds of precision times the step
  of recall, without interpolation.
  """

  split: str = "test"

  @property
  def features(self) -> Predictions:
    """What this evaluator asks for."""
    return Predictions(self.split, scores=True)

  def __call__(self, features: SplitFeatures) -> dict[str, float]:
    """Returns `map`, the mean over classes of average precision.

    And `chance`, what scores without any meaning reach: the mean share of
    examples that have a class. And `micro_ap`, the average precision of all
    pairs of example and class together. And `classes`: a class that no example
    of the split has does not count, as it has no average precision.

    Args:
      features: The split's scores [n, C] float32 and labels [n, C] bool.

    Raises:
      ValueError: If there are no scores of classes, or no such labels, or no
        example has any class.
    """
    from sklearn import metrics  # slow to import

    scores, labels = features[self.split]
    if labels is None or labels.ndim != 2 or labels.dtype != bool:
      found = "none" if labels is None else f"{labels.dtype} {labels.shape}"
      raise ValueError(
        f"MeanAveragePrecision: split {self.split!r} needs bool labels [n, C]; "
        f"got {found}; choose a source whose records have sets of classes"
      )
    if scores.shape != labels.shape:
      raise ValueError(
        f"MeanAveragePrecision: scores are {scores.dtype} of shape "
        f"{scores.shape} and labels of shape {labels.shape}; this evaluator "
        "needs a score for each class, as objective 'multi_label' makes"
      )
    present = labels.any(0)  # [C]
    if not present.any():
      raise ValueError(
        f"MeanAveragePrecision: no example of split {self.split!r} has any "
        "class"
      )
    x, y = scores[:, present], labels[:, present]
    each = metrics.average_precision_score(y, x, average=None)
    return {
      "map": float(np.mean(each)),
      "chance": float(y.mean()),
      "micro_ap": float(metrics.average_precision_score(y, x, average="micro")),
      "classes": float(present.sum()),
    }
