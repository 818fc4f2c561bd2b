"""Examples that are not trained on, prepared as if they were."""

from collections.abc import Callable
from typing import Any

import jax

from d2v_jax.data import pipeline
from d2v_jax.data.dataset import TrainingExamples
from d2v_jax.training.experiment import Settings

# Of several processes one alone would fail, and the others wait for it.
_ANY = 10**9


def of(
  settings: Settings, records: Any
) -> Callable[[int], pipeline.Batch] | None:
  """What takes the first examples of a split, in the order of an epoch.

  Args:
    settings: the run.
    records: of the split; None: there are none.

  Returns:
    rows -> augmented and masked examples, [rows, ...], of this process, the
    same ones at each call; ValueError where there are too few. None without
    records.
  """
  if records is None:
    return None
  dataset = settings.dataset

  def first(rows: int) -> pipeline.Batch:
    examples = TrainingExamples(
      dataset.training_examples(records), dataset.transform()
    )
    count = jax.process_count()
    batches = pipeline.train_batches(
      *examples,
      seed=settings.seed,
      batch_size=rows * count,
      num_threads=1,
      process_index=jax.process_index(),
      process_count=count,
      max_corrupt=_ANY,
      buckets=dataset.buckets,
    )
    try:
      return next(batches)
    finally:
      batches.close()

  return first
