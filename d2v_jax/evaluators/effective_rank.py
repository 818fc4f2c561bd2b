"""Effective rank of frozen features: a sign of collapse, without labels."""

from __future__ import annotations

import dataclasses

import numpy as np

from d2v_jax.evaluators.features import (
  Features,
  SplitFeatures,
  check_one_vector,
)


@dataclasses.dataclass(frozen=True)
class EffectiveRank:
  """RankMe: how many directions the features of a split spread over.

  Args:
    split: Which split.
    max_rows: A larger split is sampled (with a fixed seed) to this many rows.
    features: Which features.
  """

  split: str = "test"
  max_rows: int = 4096
  features: Features = dataclasses.field(default_factory=Features)

  def __post_init__(self) -> None:
    check_one_vector(self.features, "EffectiveRank")
    if self.max_rows < 1:
      raise ValueError(
        f"EffectiveRank: max_rows is {self.max_rows}; choose at least 1 "
        "(several times the feature width for a stable number)"
      )

  def __call__(self, features: SplitFeatures) -> dict[str, float]:
    """Returns the effective rank under the split's name.

    Args:
      features: Must have the split; its labels are not used.

    Raises:
      ValueError: If the split is missing.
    """
    if self.split not in features:
      raise ValueError(
        f"EffectiveRank: unknown split {self.split!r}; "
        f"choose one of: {', '.join(features)}"
      )
    x, _ = features[self.split]
    if len(x) > self.max_rows:
      rng = np.random.default_rng(0)
      x = x[rng.choice(len(x), self.max_rows, replace=False)]
    return {self.split: effective_rank(x)}


def effective_rank(x: np.ndarray) -> float:
  """Exponential of the entropy of the normalised singular values.

  Features are not centred, as in the paper.

  Args:
    x: [n, D].

  Returns:
    Between 1 (one direction) and min(n, D); 0 if all features are zero.

  Source: RankMe, arXiv:2210.02885, its definition. There 1e-7 is added to the
  shares against log 0; here singular values of 0 are left out.
  """
  # On the host: SVD is slow on accelerators, and small values need float64.
  singular = np.linalg.svd(np.asarray(x, np.float64), compute_uv=False)
  if not singular.any():
    return 0.0
  share = singular[singular > 0] / singular.sum()
  return float(np.exp(-(share * np.log(share)).sum()))
