"""What is measured on frozen features: the table, and one evaluation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import jax

from d2v_jax.evaluators.effective_rank import EffectiveRank
from d2v_jax.evaluators.features import Features, SplitFeatures
from d2v_jax.evaluators.knn import Knn
from d2v_jax.evaluators.linear_probe import LinearProbe


class Evaluator(Protocol):
  """Measures something on the features it asks for."""

  features: Features

  def __call__(self, features: SplitFeatures) -> dict[str, float]:
    """Returns metric name -> value, given the features of every split."""
    ...


EVALUATORS = {
  "knn": Knn,
  "linear_probe": LinearProbe,
  "effective_rank": EffectiveRank,
}


def evaluate(
  evaluators: Mapping[str, Evaluator],
  extract: Callable[[Features], SplitFeatures],
) -> dict[str, float]:
  """Runs evaluators; those that ask for the same features share one pass.

  Args:
    evaluators: By the name they have in `config.evaluation.evaluators`.
    extract: Gives the splits of one choice of features, for instance
      `functools.partial(extractor, params, teacher_params)`.

  Returns:
    `'<evaluator>/<metric>'` -> value, the same on every host.
  """
  results = {}
  # Features of whole splits pass between host and device on purpose.
  with jax.transfer_guard("allow"):
    for choice in dict.fromkeys(e.features for e in evaluators.values()):
      features = extract(choice)
      for name, evaluator in evaluators.items():
        if evaluator.features == choice:
          results |= _run(name, evaluator, features)
  return results


def _run(name, evaluator, features):
  try:
    metrics = evaluator(features)
  except Exception as error:
    error.add_note(f"in config.evaluation.evaluators.{name}")
    raise
  return {f"{name}/{metric}": value for metric, value in metrics.items()}
