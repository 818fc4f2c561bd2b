"""The classes of splits: how many examples each has, and which are missing."""

import collections
import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from d2v_jax.data.checking.finding import Finding, named
from d2v_jax.data.checking.survey import Label, Survey, known_labels
from d2v_jax.data.files.unreadable import shown


@dataclasses.dataclass(frozen=True)
class Classes:
  """The classes of a split.

  Attributes:
    counts: name -> examples, in the order of class numbers; 0 for a class that
      is declared and has none.
    of_all: the counts are of all records, not of those looked at.
  """

  counts: Mapping[str, int]
  of_all: bool

  @property
  def shares(self) -> dict[str, float]:
    """Name -> share of the examples, 0 to 1."""
    total = sum(self.counts.values())
    return {name: count / total for name, count in self.counts.items()}


def of(survey: Survey) -> Classes | None:
  """The classes of a split; None where labels are scores or there are none.

  Args:
    survey: of the split. Where its source knows the labels of all records,
      they are counted, too, if they were not looked at.
  """
  every = known_labels(survey.source)
  if every is None:
    labels = list(survey.labels.values())
  else:
    labels = np.asarray(every).tolist()
  if not labels or not all(isinstance(label, int) for label in labels):
    return None
  number = collections.Counter(labels)
  names = getattr(survey.source, "class_names", ())
  order = sorted({*number, *range(len(names))})
  return Classes(
    {_name(names, k): number[k] for k in order},
    every is not None or survey.is_complete,
  )


def findings(surveys: Sequence[Survey]) -> Iterator[Finding]:
  """Classes that a split lacks, and those of which nothing can be read.

  Args:
    surveys: of the splits.
  """
  split_classes = {s.name: c for s in surveys if (c := of(s)) is not None}
  everywhere = dict.fromkeys(
    name for c in split_classes.values() for name, n in c.counts.items() if n
  )
  for split, classes in split_classes.items():
    lacking = [name for name in everywhere if not classes.counts.get(name)]
    if lacking and classes.of_all:
      others = [s for s in split_classes if s != split]
      yield Finding(
        f"{split} has no example of {len(lacking)} of {len(everywhere)} "
        f"classes ({named(lacking)}), of which {' and '.join(others)} "
        f"{'has' if len(others) == 1 else 'have'} some: add examples, or leave "
        "the classes out everywhere."
      )
  for survey in surveys:
    yield from _nothing_readable(survey)


def _nothing_readable(survey: Survey) -> Iterator[Finding]:
  if not survey.looks:
    return  # nor of any other class, which is said already
  bad: dict[Label, list[int]] = collections.defaultdict(list)
  for index in survey.unreadable:
    if isinstance(survey.labels.get(index), int):
      bad[survey.labels[index]].append(index)
  readable = {survey.labels[i] for i in survey.looks if i in survey.labels}
  names = getattr(survey.source, "class_names", ())
  for label in sorted(bad.keys() - readable):
    first = bad[label][0]
    number = len(bad[label])
    yield Finding(
      f"{survey.name}: nothing of the class {_name(names, int(label))} can be "
      f"read, {number} of {number} looked at (the first is "
      f"{survey.record_name(first)}: {survey.unreadable[first]}); repair the "
      "files, or leave the class out."
    )


def _name(names: Sequence[str], number: int) -> str:
  return shown(names[number]) if 0 <= number < len(names) else str(number)
