"""Scores of predicted numbers."""

from __future__ import annotations

import dataclasses

import numpy as np

from d2v_jax.evaluators.features import Predictions, SplitFeatures


@dataclasses.dataclass(frozen=True)
class RegressionScores:
  """Correlations and squared error of an objective's predictions.

  Args:
    split: Which split.

  Source: the metrics of GLUE's STS-B, arXiv:1804.07461.
  """

  split: str = "test"

  @property
  def features(self) -> Predictions:
    """What this evaluator asks for."""
    return Predictions(self.split)

  def __call__(self, features: SplitFeatures) -> dict[str, float]:
    """Returns `pearson`, `spearman`, their mean `pearson_spearman`, and `mse`.

    A correlation is 0 where it is not defined: if all predictions or all labels
    are the same.

    Args:
      features: The split's predictions [n] float32 and labels [n].

    Raises:
      ValueError: If there are no labels, or there is not one number each.
    """
    from scipy.stats import rankdata  # slow to import

    predictions, labels = features[self.split]
    x = self._numbers("predictions", predictions)
    y = self._numbers("labels", labels)
    pearson = correlation(x, y)
    spearman = correlation(rankdata(x), rankdata(y))
    return {
      "pearson": pearson,
      "spearman": spearman,
      "pearson_spearman": (pearson + spearman) / 2,
      "mse": float(np.mean((x - y) ** 2)),
    }

  def _numbers(self, what: str, values: np.ndarray | None) -> np.ndarray:
    """One number [n] each, in float64."""
    if values is None or values.ndim != 1:
      shape = "absent" if values is None else f"of shape {values.shape}"
      raise ValueError(
        f"RegressionScores: the {what} of split {self.split!r} are {shape}; "
        "this evaluator needs one number each, as objective 'regression' does"
      )
    return values.astype(np.float64)


def correlation(x: np.ndarray, y: np.ndarray) -> float:
  """Pearson correlation of x [n] and y [n]; 0 if either is constant."""
  if np.ptp(x) == 0 or np.ptp(y) == 0:
    return 0.0
  x, y = x - x.mean(), y - y.mean()
  return float(x @ y / np.sqrt((x @ x) * (y @ y)))
