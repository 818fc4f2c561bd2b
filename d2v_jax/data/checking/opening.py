"""Opens the data of a run as the run does, and notes what it would say."""

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any

from d2v_jax.data.buckets import Buckets, BucketStream, SortedByLength
from d2v_jax.data.checking.finding import Finding, noted
from d2v_jax.data.checking.survey import chosen
from d2v_jax.data.dataset import DATA, Dataset, Section

_COMPARED = 100  # names of records
TRAINING = f"{DATA}.source"


@dataclasses.dataclass
class Split:
  """Data that are opened, as far as they can be.

  Attributes:
    name: path in the config.
    same_as: name of an earlier split of the same records; '' for none.
    records: a source of records; None where it cannot be opened.
    examples: of the records, to train on or to evaluate; None where there are
      none.
  """

  name: str
  same_as: str = ""
  records: Any = None
  examples: Any = None


def opened(
  dataset: Dataset,
  sections: Mapping[str, Section],
  *,
  batch_size: int | None,
  evaluation_batch_size: int,
  evaluation_buckets: Buckets | None,
  findings: list[Finding],
) -> dict[str, Split]:
  """Opens the source to train on, if there is one, and those to evaluate on.

  Args:
    dataset: config.data.
    sections: path in the config -> source of a split to evaluate on.
    batch_size: examples in a batch to train on; None: nothing is trained.
    evaluation_batch_size: examples in a batch to evaluate on.
    evaluation_buckets: lengths of batches to evaluate on.
    findings: to which errors and warnings are added.

  Returns:
    Name -> split, the one to train on first.
  """
  splits: dict[str, Split] = {}
  if batch_size is not None:
    split = splits[TRAINING] = Split(TRAINING)
    with noted(findings, TRAINING):
      split.records = _counted(dataset.records())
      split.examples = dataset.training(split.records)
      if dataset.buckets is not None:
        BucketStream(split.examples.source, dataset.buckets, batch_size, 0)
  for name, section in sections.items():
    split = splits[name] = Split(name)
    with noted(findings, name):
      split.records = _counted(dataset.open(section, name))
      split.examples = dataset.evaluation(split.records, name)
      if evaluation_buckets is not None:
        SortedByLength(
          split.examples.source, evaluation_buckets, evaluation_batch_size
        )
  for name, other in same_as(
    {x.name: x.records for x in splits.values()}
  ).items():
    splits[name].same_as = other
  return splits


def same_as(sources: Mapping[str, Any]) -> dict[str, str]:
  """Returns the name of a source -> the first one of the same records.

  Args:
    sources: name -> source, or None.
  """
  found: dict[str, str] = {}
  for (earlier, one), (name, other) in itertools.combinations(
    sources.items(), 2
  ):
    if name not in found and _are_the_same(one, other):
      found[name] = earlier
  return found


def _counted(records: Any) -> Any:
  """Returns a source that knows how many it has: some read files for that."""
  len(records)
  return records


def _are_the_same(one: Any, other: Any) -> bool:
  """Whether two sources have the same records, by their names, and classes."""
  if one is None or other is None or len(one) != len(other):
    return False
  if getattr(one, "class_names", ()) != getattr(other, "class_names", ()):
    return False
  return all(
    one.record_name(i) == other.record_name(i)
    for i in chosen(len(one), _COMPARED)
  )
