"""Which sources a mixture has, and the share of each."""

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

NAME = "mixture"  # in a section of a config


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mixture:
  """Sources to train on together, and their shares of all examples.

  Args:
    sources: sections of two or more sources.
    weights: of each source, which its share is proportional to; None for the
      number of its examples ** (1 / temperature).
    temperature: 1 leaves the shares as the sources are large; with higher ones
      they come closer to each other. None for 1.
    names: of the sources, in metrics; None for the last part of their paths.

  Raises:
    ValueError: an argument is outside its range or does not fit the others.

  Source: sampling by p_k ~ n_k ** alpha, alpha = 1 / temperature, is XLM's
  (arXiv 1901.07291, section 3.1); XLS-R takes hours for n_k.
  """

  sources: tuple[Mapping[str, Any], ...]
  weights: tuple[float, ...] | None = None
  temperature: float | None = None
  names: tuple[str, ...] | None = None

  def __post_init__(self) -> None:
    count = len(self.sources)
    if count < 2:
      raise ValueError(
        f"Mixture: sources must be two or more sections, got {count}"
      )
    if self.weights is not None and self.temperature is not None:
      raise ValueError(
        "Mixture: weights and temperature both say the shares; give one"
      )
    for name, values in (("weights", self.weights), ("names", self.names)):
      if values is not None and len(values) != count:
        raise ValueError(
          f"Mixture: {name} must have one for each of the {count} sources, got "
          f"{len(values)}"
        )
    for weight in self.weights or ():
      if not 0 < weight < math.inf:
        raise ValueError(
          f"Mixture: weights must be above 0 and finite, got {self.weights}; "
          "leave out a source that is not wanted"
        )
    if self.temperature is not None and not 0 < self.temperature < math.inf:
      raise ValueError(
        "Mixture: temperature must be above 0 and finite, got "
        f"{self.temperature}; for equal shares give equal weights"
      )
    if self.names is not None and len(set(self.names)) < count:
      raise ValueError(f"Mixture: names must differ, got {self.names}")

  def labels(self) -> tuple[str, ...]:
    """Returns a name for each source."""
    if self.names is not None:
      return self.names
    found = [_label(section) for section in self.sources]
    return tuple(
      f"{name}_{k}" if found.count(name) > 1 else name
      for k, name in enumerate(found)
    )

  def shares(self, sizes: Sequence[int]) -> np.ndarray:
    """Returns each source's share of the examples, float64 [sources].

    Args:
      sizes: number of examples of each source.
    """
    if self.weights is not None:
      weights = np.array(self.weights, np.float64)
    else:
      # Of the largest, so that no power is out of range.
      relative = np.array(sizes, np.float64) / max(sizes)
      weights = relative ** (1 / (self.temperature or 1.0))
    return weights / weights.sum()


def _label(section: Mapping[str, Any]) -> str:
  where = section.get("path") or section.get("builder") or section.get("name")
  return os.path.basename(os.path.normpath(str(where)))
