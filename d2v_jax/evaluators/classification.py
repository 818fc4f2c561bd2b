"""Scores of predicted classes."""

from __future__ import annotations

import dataclasses

import numpy as np

from d2v_jax.evaluators.features import Predictions, SplitFeatures, labelled


@dataclasses.dataclass(frozen=True)
class Classification:
  """Accuracy, F1 and Matthews correlation of an objective's predictions.

  Args:
    split: Which split.

  Source: the metrics of GLUE, arXiv:1804.07461.
  """

  split: str = "test"

  @property
  def features(self) -> Predictions:
    """What this evaluator asks for."""
    return Predictions(self.split)

  def __call__(self, features: SplitFeatures) -> dict[str, float]:
    """Returns `accuracy`, `f1` and `matthews`.

    F1 is that of class 1 if there is no class above 1, else the mean over
    classes that occur. Matthews correlation is 0 where it is not defined, for
    instance if all predictions are the same.

    Args:
      features: The split's predictions [n] int32 and labels [n].

    Raises:
      ValueError: If predictions or labels are not class numbers.
    """
    from sklearn import metrics  # slow to import

    x, y = labelled(features, self.split)
    if x.ndim != 1 or not np.issubdtype(x.dtype, np.integer):
      raise ValueError(
        f"Classification: predictions are {x.dtype} of shape {x.shape}; this "
        "evaluator needs one class each, as objective 'classification' makes"
      )
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
    return {
      "accuracy": float(np.mean(x == y)),
      "f1": float(f1),
      "matthews": float(matthews),
    }
