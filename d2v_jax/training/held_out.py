"""Examples that are not trained on, prepared as if they were."""

import itertools
from collections.abc import Callable
from typing import Any

import jax

from d2v_jax.data import pipeline
from d2v_jax.data.dataset import TrainingExamples
from d2v_jax.training.experiment import Settings

# Of several processes one alone would fail, and the others wait for it.
_ANY = 10**9
# Batches among which one of a length is looked for.
_MOST = 100

HeldOut = Callable[[int, tuple[int, ...]], pipeline.Batch]


def of(settings: Settings, records: Any) -> HeldOut | None:
  """What takes examples of a split, in the order of an epoch.

  Args:
    settings: the run.
    records: of the split; None: there are none.

  Returns:
    (rows, shape) -> so many augmented and masked examples of this process with
    `inputs` [rows, *shape], the same ones at each call; ValueError where there
    are too few. None without records.
  """
  if records is None:
    return None
  dataset = settings.dataset

  def take(rows: int, shape: tuple[int, ...]) -> pipeline.Batch:
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
      for batch in itertools.islice(batches, _MOST):
        if batch["inputs"].shape[1:] == shape:
          return batch
    finally:
      batches.close()
    raise ValueError(
      f"of {_MOST} batches of {rows * count} none has inputs of {shape}"
    )

  return take
