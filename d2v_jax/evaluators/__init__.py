"""What is measured: the table of evaluators, and one evaluation.

Some measure frozen features, others what a supervised objective predicts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import jax

from d2v_jax.evaluators.classification_scores import ClassificationScores
from d2v_jax.evaluators.effective_rank import EffectiveRank
from d2v_jax.evaluators.features import Asked, SplitFeatures
from d2v_jax.evaluators.knn import Knn
from d2v_jax.evaluators.layer_curve import LayerCurve
from d2v_jax.evaluators.linear_probe import LinearProbe
from d2v_jax.evaluators.low_shot import LowShot
from d2v_jax.evaluators.mean_average_precision import MeanAveragePrecision
from d2v_jax.evaluators.position_share import PositionShare
from d2v_jax.evaluators.regression_scores import RegressionScores
from d2v_jax.evaluators.wer import Wer


class Evaluator(Protocol):
  """Measures something on the features, or predictions, it asks for."""

  @property
  def features(self) -> Asked:
    """What it asks for."""
    ...

  def __call__(self, features: SplitFeatures) -> dict[str, float]:
    """Returns metric name -> value, given what was asked for, by split."""
    ...


EVALUATORS: dict[str, Callable[..., Evaluator]] = {
  "knn": Knn,
  "linear_probe": LinearProbe,
  "layer_curve": LayerCurve,
  "low_shot": LowShot,
  "effective_rank": EffectiveRank,
  "position_share": PositionShare,
  "classification": ClassificationScores,
  "mean_average_precision": MeanAveragePrecision,
  "regression": RegressionScores,
  "wer": Wer,
}


def evaluate(
  evaluators: Mapping[str, Evaluator],
  extract: Callable[[Asked], SplitFeatures],
  begins: Callable[[str], None] | None = None,
) -> dict[str, float]:
  """Runs evaluators; those that ask for the same features share one pass.

  Args:
    evaluators: By the name they have in `config.evaluation.evaluators`.
    extract: Gives the splits of one choice of features, for instance
      `functools.partial(extractor, params, teacher_params)`.
    begins: Is told the name of each evaluator when it has what it asked for.

  Returns:
    `'<evaluator>/<metric>'` -> value, the same on every host.
  """
  results: dict[str, float] = {}
  # Features of whole splits pass between host and device on purpose.
  with jax.transfer_guard("allow"):
    for choice in dict.fromkeys(e.features for e in evaluators.values()):
      features = extract(choice)
      for name, evaluator in evaluators.items():
        if evaluator.features == choice:
          if begins is not None:
            begins(name)
          results |= _run(name, evaluator, features)
  return results


def _run(
  name: str, evaluator: Evaluator, features: SplitFeatures
) -> dict[str, float]:
  try:
    metrics = evaluator(features)
  except Exception as error:
    error.add_note(f"in config.evaluation.evaluators.{name}")
    raise
  return {f"{name}/{metric}": value for metric, value in metrics.items()}
