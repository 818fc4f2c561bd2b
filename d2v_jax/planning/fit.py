"""How much fits: the largest micro-batch, and what a larger batch takes."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from d2v_jax.models.remat import POLICIES
from d2v_jax.planning.plan import Row

# Sizes that batches of a run are made of: 1, 2, 3, 4, 6, 8, 12, 16, ...
_SIZES = sorted({1, *(k * 2**i for i in range(1, 15) for k in (1, 1.5))})
SIZES = tuple(int(size) for size in _SIZES)

Settings = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Way:
  """Settings with which a batch may fit.

  Attributes:
    settings: field of the config -> value.
    row: what came of it.
  """

  settings: Settings
  row: Row


def largest(measure: Callable[[int], Row], start: int) -> Row | None:
  """The largest of SIZES that fits.

  Memory grows about linearly with the batch, so the next guess is where a line
  through two measurements meets the limit.

  Args:
    measure: examples on each device -> what is compiled for them.
    start: where to begin.

  Returns:
    Its row; None if not even one example fits.
  """
  rows: dict[int, Row] = {}
  low, high = -1, len(SIZES)  # the largest that fits, the smallest that doesn't
  guess = max((i for i, size in enumerate(SIZES) if size <= start), default=0)
  while high - low > 1:
    guess = min(max(guess, low + 1), high - 1)
    row = rows[guess] = measure(SIZES[guess])
    if row.fits:
      low = guess
    else:
      high = guess
    guess = _next(rows, low, high, row.target.memory or _limit(row))
  return rows.get(low)


def _limit(row: Row) -> float | None:
  return None if row.target.peaks is None else row.target.peaks.memory


def _next(
  rows: Mapping[int, Row], low: int, high: int, limit: float | None
) -> int:
  """Where memory may just be enough; between what is known."""
  if len(rows) == 1:
    # Without a second point: one step to the other side.
    return low + 2 if low >= 0 else high - 2
  if limit is None:
    return (low + high) // 2
  (i, first), (j, second) = list(rows.items())[-2:]
  slope = (second.memory_bytes - first.memory_bytes) / (SIZES[j] - SIZES[i])
  if slope <= 0:
    return (low + high) // 2
  size = SIZES[j] + (limit - second.memory_bytes) / slope
  return max((k for k, s in enumerate(SIZES) if s <= size), default=0)


def candidates(
  config: Any, batch: int, micro_batch: int, devices: int
) -> Iterator[Settings]:
  """Settings that save memory, each alone, then together.

  Args:
    config: what they are changes of.
    batch: wanted examples of an update on each device.
    micro_batch: as many as fit at once; 0 if none does.
    devices: number of devices.
  """
  remats = [
    {"encoder.remat": policy}
    for policy in POLICIES
    if policy not in ("none", config.encoder.get("remat"))
  ]
  accumulate = _accumulate(batch, micro_batch)
  micro: list[Settings] = [{"accumulate": accumulate}] if accumulate > 1 else []
  split: list[Settings] = []
  if devices > 1 and config.get("sharding", "replicated") != "fsdp":
    split = [{"sharding": "fsdp"}]
  yield {}
  yield from (*remats, *micro, *split)
  for one in remats[-1:]:
    for other in (*split, *micro):
      yield {**one, **other}
  if remats and split and batch > 1:
    # What is left: one example after the other.
    yield {**remats[-1], **split[0], "accumulate": batch}


def _accumulate(batch: int, micro_batch: int) -> int:
  """The fewest equal micro-batches that are small enough."""
  fits = (n for n in range(1, batch + 1) if batch % n == 0)
  return next((n for n in fits if micro_batch * n >= batch), 0)


def cheapest(ways: Sequence[Way]) -> Way | None:
  """Of those that fit the fastest, or the first where time is unknown."""
  fitting = [way for way in ways if way.row.fits]
  timed = [way for way in fitting if way.row.time is not None]
  if timed:
    return min(timed, key=lambda way: way.row.time.seconds)  # type: ignore[union-attr]
  return fitting[0] if fitting else None
