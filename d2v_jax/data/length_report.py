"""How long examples are, and which lengths of batches waste least."""

import numpy as np

from d2v_jax.data.buckets import Buckets

_CANDIDATES = 200  # ends of buckets that are weighed
_QUANTILES = (0, 5, 25, 50, 75, 95, 100)


def best_buckets(
  lengths: np.ndarray, number: int = 4, multiple: int = 1
) -> Buckets:
  """Returns the lengths of batches that hold all examples with least padding.

  Args:
    lengths: int [n], at least 1.
    number: the most buckets; fewer where there are fewer lengths.
    multiple: buckets are rounded up to multiples of it.
  """
  ordered = np.sort(np.asarray(lengths, np.int64))
  ranks = np.linspace(0, len(ordered) - 1, _CANDIDATES).round().astype(int)
  ends = np.unique(-(-ordered[ranks] // multiple) * multiple)
  # What every bucket would hold if it ended there and the last one ended
  # before: counts are differences of these sums.
  upto = np.searchsorted(ordered, ends, side="right")
  number = min(number, len(ends))
  # Length of all batches up to each end, with one bucket more each round.
  cost = (ends * upto).astype(np.float64)
  chosen = []
  for _ in range(number - 1):
    added = ends[:, None] * (upto[:, None] - upto[None, :])
    total = np.where(ends[None, :] < ends[:, None], cost + added, np.inf)
    before = total.argmin(axis=1)
    better = total[np.arange(len(ends)), before]
    chosen.append(np.where(better < cost, before, -1))
    cost = np.minimum(better, cost)
  found, at = [len(ends) - 1], len(ends) - 1
  for before in reversed(chosen):
    if before[at] >= 0:
      at = int(before[at])
      found.append(at)
  return Buckets(tuple(int(ends[k]) for k in sorted(found)))


def padding(lengths: np.ndarray, buckets: Buckets) -> float:
  """Returns the share of batches that is padding, 0 to 1.

  Args:
    lengths: int [n], of examples; what is beyond the last bucket is cropped.
    buckets: lengths of batches.
  """
  held = np.asarray(buckets.lengths)[buckets.assign(lengths)]
  return float(1 - np.minimum(lengths, held).sum() / held.sum())


def quantiles(values: np.ndarray) -> dict[int, float]:
  """Returns percent -> the value that so many are not above.

  Args:
    values: [n], such as lengths in seconds.
  """
  found = np.quantile(values, [q / 100 for q in _QUANTILES])
  return dict(zip(_QUANTILES, found.tolist(), strict=True))
