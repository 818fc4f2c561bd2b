"""How far to trust a mean over repetitions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def summary(name: str, values: Sequence[float]) -> dict[str, float]:
  """Sums up the same metric of several repetitions.

  Args:
    name: Of the metric.
    values: One for each repetition.

  Returns:
    `<name>`, the mean; with more than one repetition also `<name>_low` and
    `<name>_high`, the 95 % interval of the mean by Student's t distribution.
    It takes repetitions as independent and is not cut at 0 or 1.
  """
  from scipy.special import stdtrit  # slow to import

  n, mean = len(values), np.mean(values)
  results = {name: float(mean)}
  if n > 1:
    half = stdtrit(n - 1, 0.975) * np.std(values, ddof=1) / np.sqrt(n)
    results[f"{name}_low"] = float(mean - half)
    results[f"{name}_high"] = float(mean + half)
  return results
