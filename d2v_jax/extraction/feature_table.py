"""Features of examples, before they are written."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

FLOAT = np.dtype("<f4")

_BLOCK = 1024  # examples copied at once


@dataclasses.dataclass(frozen=True)
class FeatureTable:
  """Features in the order of their examples.

  Attributes:
    rows: float32 [rows, ...], in any order.
    starts: int64 [n], the first row of each example.
    sizes: int64 [n], its number of rows; None: one each.
    names: n names.
    labels: int32 or float32 [n], bool [n, classes] of sets of classes, or
      None.
    metadata: JSON.
  """

  rows: np.ndarray
  starts: np.ndarray
  sizes: np.ndarray | None
  names: list[str]
  labels: np.ndarray | None
  metadata: Mapping[str, Any]

  def example(self, i: int) -> np.ndarray:
    """Returns the features of one example, [...] or [size, ...]."""
    start = self.starts[i]
    if self.sizes is None:
      return self.rows[start]
    return self.rows[start : start + self.sizes[i]]

  def blocks(self) -> Iterator[np.ndarray]:
    """Yields all features, piece by piece."""
    if self.sizes is None:
      for first in range(0, len(self.starts), _BLOCK):
        yield self.rows[self.starts[first : first + _BLOCK]]
    else:
      yield from map(self.example, range(len(self.starts)))

  def small(self) -> dict[str, np.ndarray]:
    """Returns what else is written as numbers: offsets and labels."""
    found = {}
    if self.sizes is not None:
      found["offsets"] = np.append(0, np.cumsum(self.sizes)).astype(np.int64)
    if self.labels is not None:
      found["labels"] = self.labels
    return found
