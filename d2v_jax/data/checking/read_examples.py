"""What training makes of examples, and how long it takes to read them."""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from d2v_jax.data import length_report
from d2v_jax.data.buckets import Buckets
from d2v_jax.data.dataset import Dataset, TrainingExamples
from d2v_jax.data.files.unreadable import shown
from d2v_jax.data.source import Example


@dataclasses.dataclass(frozen=True)
class ReadExamples:
  """Examples as training reads them.

  Attributes:
    total: examples that there are.
    read: examples that were read.
    seconds: that this took.
    threads: that read them.
    lengths: length of batches -> (tokens N, examples that are assigned to it);
      of one shape, the only length is None.
    fit: how the lengths of all examples go with those of batches; None where
      all have one shape.
    kept: share of each example that survives crop and batch, [read]; None where
      the transform does not say.
    num_masks: masks of an example; 0 for none.
    hidden: share of an example's tokens, padding apart, that each mask hides,
      [masks read].
    visible: tokens that are encoded with each of several masks; None where all
      are.
  """

  total: int
  read: int
  seconds: float
  threads: int
  lengths: Mapping[int | None, tuple[int, int]]
  fit: "Fit | None"
  kept: np.ndarray | None
  num_masks: int
  hidden: np.ndarray
  visible: int | None

  @property
  def epoch_seconds(self) -> float:
    """Seconds that all examples take at this speed."""
    return self.seconds / self.read * self.total


class Fit(NamedTuple):
  """How the lengths of examples go with those of batches.

  Attributes:
    cropped: share of all there is to learn from that is beyond the largest.
    padding: share of batches that is padding.
    best: as many lengths of batches that hold all with least padding.
    best_padding: the padding of these.
  """

  cropped: float
  padding: float
  best: tuple[int, ...]
  best_padding: float


def read(
  dataset: Dataset, examples: TrainingExamples, indices: Sequence[int]
) -> ReadExamples:
  """Reads examples as training does, with as many threads, in this process.

  Args:
    dataset: config.data.
    examples: what it trains on.
    indices: of the examples to read.

  Raises:
    ValueError: an example cannot be read, or be made a row of a batch.
  """
  source, transform = examples
  buckets = dataset.buckets
  assigned = None if buckets is None else buckets.assign(source.lengths)

  def row(index: int) -> _Row:
    try:
      return made_of(source[index], index)
    except Exception as error:  # a source may be anybody's
      raise ValueError(
        f"training cannot read {shown(source.record_name(index))}: "
        f"{type(error).__name__}: {error}"
      ) from error

  def made_of(example: Example, index: int) -> _Row:
    if buckets is not None and assigned is not None:
      example = {**example, "length": buckets.lengths[assigned[index]]}
    # A generator of its own: nothing that a run draws depends on this.
    made = transform(example, np.random.default_rng(index))
    if "padding" in made:
      tokens = int((~made["padding"]).sum())
    elif buckets is None:
      tokens = dataset.num_tokens()
    else:
      held = min(int(source.lengths[example["record"]]), example["length"])
      tokens = dataset.num_tokens(held)
    return _summary(made, tokens, example, transform)

  row(indices[0])  # what is made once, such as an opened file, is no reading
  begin = time.perf_counter()
  with ThreadPoolExecutor(dataset.num_threads) as pool:
    rows = list(pool.map(row, indices))
  seconds = time.perf_counter() - begin
  kept = [x.kept for x in rows if x.kept is not None]
  return ReadExamples(
    total=len(source),
    read=len(rows),
    seconds=seconds,
    threads=dataset.num_threads,
    lengths=_lengths(dataset, buckets, assigned, len(source)),
    fit=None if buckets is None else _fit(source.lengths, buckets),
    kept=np.array(kept) if kept else None,
    num_masks=len(rows[0].hidden),
    hidden=np.concatenate([x.hidden for x in rows]),
    visible=rows[0].visible,
  )


class _Row(NamedTuple):
  """Of `ReadExamples`, what one example says."""

  hidden: np.ndarray
  visible: int | None
  kept: float | None


def _summary(
  row: Example, tokens: int, example: Example, transform: Any
) -> _Row:
  hidden = np.zeros(0)
  if "mask" in row:
    hidden = np.atleast_2d(row["mask"]).sum(axis=1) / tokens  # [M]
  visible = row["keep_ids"].shape[-1] if "keep_ids" in row else None
  kept = None
  if hasattr(transform, "kept"):
    kept = transform.kept(example, np.random.default_rng(example["requested"]))
  return _Row(hidden, visible, kept)


def _fit(lengths: np.ndarray, buckets: Buckets) -> Fit:
  best = length_report.best_buckets(lengths, len(buckets.lengths))
  return Fit(
    buckets.discarded(lengths),
    length_report.padding(lengths, buckets),
    best.lengths,
    length_report.padding(lengths, best),
  )


def _lengths(
  dataset: Dataset,
  buckets: Buckets | None,
  assigned: np.ndarray | None,
  total: int,
) -> dict[int | None, tuple[int, int]]:
  if buckets is None or assigned is None:
    return {None: (dataset.num_tokens(), total)}
  counts = np.bincount(assigned, minlength=len(buckets.lengths))
  return {
    length: (dataset.num_tokens(length), int(count))
    for length, count in zip(buckets.lengths, counts, strict=True)
  }
