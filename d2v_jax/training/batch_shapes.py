"""Shapes and dtypes of the batches of a run, before there are any."""

import jax
import numpy as np

from d2v_jax.data.dataset import Dataset, Example, TrainingExamples

Shapes = dict[str, jax.ShapeDtypeStruct]


def of_example(example: Example, dataset: Dataset, batch_size: int) -> Shapes:
  """Those of a global batch of such examples.

  Args:
    example: one as the training transform takes it, with the batch's length;
      `dataset.blank` makes one without any data.
    dataset: config.data.
    batch_size: examples in the batch.
  """
  row = dataset.transform()(example, np.random.default_rng(0))
  return {
    key: jax.ShapeDtypeStruct((batch_size, *value.shape), value.dtype)
    for key, value in row.items()
    if key not in ("requested", "record")
  }


def longest(
  examples: TrainingExamples, dataset: Dataset, batch_size: int
) -> Shapes:
  """Those of a batch of the first example, at the longest of its lengths."""
  example = examples.source[0]
  if dataset.buckets is not None:
    example = {**example, "length": dataset.buckets.lengths[-1]}
  return of_example(example, dataset, batch_size)


def of_each_length(
  examples: TrainingExamples, dataset: Dataset, batch_size: int
) -> list[Shapes]:
  """Those of a batch of each length that occurs."""
  example, buckets = examples.source[0], dataset.buckets
  if buckets is None:
    return [of_example(example, dataset, batch_size)]
  # What is left over in a bucket goes to the next one that is not empty.
  used = np.unique(buckets.assign(examples.source.lengths))
  return [
    of_example({**example, "length": buckets.lengths[i]}, dataset, batch_size)
    for i in used
  ]
