"""Says where learned features stand beside others."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from d2v_jax.evaluators.knn import Knn
from d2v_jax.evaluators.linear_probe import LinearProbe
from d2v_jax.evaluators.pooling import Grid
from d2v_jax.evaluators.references.measure import (
  UNTRAINED,
  Compared,
  Metrics,
  References,
)

_WORDS = {
  UNTRAINED: "untrained encoder",
  "pixels": "pixels",
  "pixels_pooled": "pixels pooled alike",
  "log_mel": "log-mel",
  "log_mel_pooled": "log-mel pooled alike",
  "channels": "mean and std of channels",
  "channels_pooled": "mean and std of channels pooled alike",
  "tf_idf": "TF-IDF",
}
# Side by side they are not too many numbers.
_FEW_TOKENS = 64
# Standard errors of a difference that chance does not make often.
_SURE = 2.0


def lines(
  evaluators: Compared,
  results: Mapping[str, Metrics],
  labels: Metrics,
  references: References,
  grid: Grid,
) -> list[str]:
  """Says it, a line for each evaluator and one for what does not stand well.

  Args:
    evaluators: by name.
    results: name of the evaluator -> its metrics on learned features.
    labels: from `of_labels`.
    references: what there is of each evaluator; may be nothing.
    grid: (H, W) of the network's patches; () for tokens in time.

  Returns:
    Plain text.
  """
  found = list(_heading(labels))
  for name, evaluator in evaluators.items():
    metric = "balanced_accuracy" if labels["unequal"] else "accuracy"
    mine = results[name][metric]
    others = {
      reference: metrics[metric]
      for reference, metrics in references.get(name, {}).items()
    }
    beside = ", ".join(f"{_WORDS[k]} {v:.3f}" for k, v in others.items())
    beside = beside and f"; {beside}"
    words = metric.replace("_", " ")
    found.append(f"  {name}: {words} {mine:.3f}{beside}")
    worse = _no_better(mine, others, labels["test"])
    if worse:
      found.append(f"  {worse} {_advice(name, evaluator, grid)}")
  return found


def _heading(labels: Metrics) -> Iterator[str]:
  classes, test = int(labels["classes"]), int(labels["test"])
  yield (
    f"learned features on {test} test examples of {classes} classes (chance "
    f"{labels['chance']:.3f}, most frequent class {labels['majority']:.3f}):"
  )
  if labels["unequal"]:
    yield (
      "  classes are unequal, so it is the balanced accuracy, in which each "
      "counts the same; one class alone has that of chance"
    )


def _no_better(mine: float, others: Metrics, count: float) -> str:
  """Of what the features are not clearly better; '' if of nothing."""
  behind = [k for k, v in others.items() if mine <= v]
  near = [
    k
    for k, v in others.items()
    if v
    < mine
    <= v + _SURE * math.sqrt((v * (1 - v) + mine * (1 - mine)) / count)
  ]
  parts = []
  if behind:
    parts.append(f"do not beat {_listed(behind)}")
  if near:
    parts.append(
      f"beat {_listed(near)} by no more than chance may do with {count:.0f} "
      "examples"
    )
  return f"These features {', and '.join(parts)}." if parts else ""


def _listed(names: list[str]) -> str:
  words = [_WORDS[name] for name in names]
  return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _advice(name: str, evaluator: LinearProbe | Knn, grid: Grid) -> str:
  """What to try next."""
  tries = [
    "train longer or on more data",
    "begin with existing weights (config.init_from)",
  ]
  if isinstance(evaluator.features.pool, str):
    where = ("cells:2",) if grid else ("segments:4", "segments:8")
    if grid and math.prod(grid) <= _FEW_TOKENS:
      where = (*where, "tokens")
    pools = ("mean", "mean_std", *where)
    tries.insert(
      0,
      "let it choose how features are read (config.evaluation.evaluators."
      f"{name}.features={{'layers': 'all', 'pool': {pools}}})",
    )
  return f"To try: {'; '.join(tries)}."
