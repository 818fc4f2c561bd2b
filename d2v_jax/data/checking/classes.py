"""The classes of splits: how many examples each has, and which are missing."""

import collections
import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from d2v_jax.data.checking.finding import Finding, named
from d2v_jax.data.checking.survey import Survey, known_labels
from d2v_jax.data.class_sets import ClassSet
from d2v_jax.data.files.unreadable import shown

_ENOUGH = 16  # records that tell that a class has none of use


@dataclasses.dataclass(frozen=True)
class Classes:
  """The classes of a split.

  Attributes:
    counts: name -> examples, in the order of class numbers; 0 for a class that
      is declared and has none.
    examples: that there are; those of all classes, where each has one.
    of_all: the counts are of all records, not of those looked at.
  """

  counts: Mapping[str, int]
  examples: int
  of_all: bool

  @property
  def shares(self) -> dict[str, float]:
    """Name -> share of the examples, 0 to 1."""
    return {n: count / self.examples for n, count in self.counts.items()}


def of(survey: Survey) -> Classes | None:
  """The classes of a split; None where labels are scores or there are none.

  Args:
    survey: of the split. Where its source knows the labels of all records,
      they are counted, too, if they were not looked at.
  """
  every = known_labels(survey.source)
  labels = list(survey.labels.values()) if every is None else every
  sets = [s for label in labels if (s := _set(label)) is not None]
  if not sets or len(sets) < len(labels):
    return None
  number = collections.Counter(itertools.chain.from_iterable(sets))
  names = getattr(survey.source, "class_names", ())
  order = sorted({*number, *range(len(names))})
  return Classes(
    {_name(names, k): number[k] for k in order},
    len(sets),
    every is not None or survey.is_complete,
  )


def findings(surveys: Sequence[Survey]) -> Iterator[Finding]:
  """Classes that a split lacks, and those of which nothing can be read.

  Splits that have no class in common have classes of different kinds, such as
  speakers to pretrain on and words to probe for: they are not compared.

  Args:
    surveys: of the splits.
  """
  found = {s.name: c for s in surveys if (c := of(s)) is not None}
  present = {
    split: [name for name, count in c.counts.items() if count]
    for split, c in found.items()
  }
  for split, own in present.items():
    lacking: dict[str, None] = {}
    having = []
    for other, names in present.items():
      missing = [name for name in names if name not in own]
      if missing and len(missing) < len(names):
        lacking |= dict.fromkeys(missing)
        having.append(other)
    if lacking and found[split].of_all:
      yield Finding(
        f"{split} has no example of {len(lacking)} of "
        f"{len(lacking) + len(own)} classes ({named(list(lacking))}), of which "
        f"{' and '.join(having)} {'has' if len(having) == 1 else 'have'} some: "
        "add examples, or leave the classes out everywhere."
      )
  for survey in surveys:
    yield from _nothing_readable(survey)


def to_look_further(survey: Survey) -> list[int]:
  """Returns more records of classes of which nothing was readable so far.

  Args:
    survey: of a sample, of a source that knows the labels of all records.

  Returns:
    Indices, so many that of each class `_ENOUGH` are looked at, or all.
  """
  every = known_labels(survey.source)
  if every is None:
    return []
  further: set[int] = set()
  for label, looked_at in _without_readable(survey).items():
    rest = np.setdiff1d(_having(label, every), looked_at)
    further.update(rest[: max(0, _ENOUGH - len(looked_at))].tolist())
  return sorted(further)


def _nothing_readable(survey: Survey) -> Iterator[Finding]:
  if not survey.looks:
    return  # nor of any other class, which is said already
  every = known_labels(survey.source)
  names = getattr(survey.source, "class_names", ())
  for label, looked_at in sorted(_without_readable(survey).items()):
    number = len(looked_at)
    total = None if every is None else len(_having(label, every))
    if number < _ENOUGH and number != total and not survey.is_complete:
      continue  # too few to tell
    first = looked_at[0]
    yield Finding(
      f"{survey.name}: nothing of the class {_name(names, label)} can be read, "
      f"{number} of {number if total is None else total} looked at (the first "
      f"is {survey.record_name(first)}: {survey.unreadable[first]}); repair "
      "the files, or leave the class out."
    )


def _without_readable(survey: Survey) -> dict[int, list[int]]:
  """Class -> its records looked at, of classes of which none was readable."""
  bad: dict[int, list[int]] = collections.defaultdict(list)
  for index in survey.unreadable:
    for label in _set(survey.labels.get(index)) or ():
      bad[label].append(index)
  readable = {
    label
    for index in survey.looks
    for label in _set(survey.labels.get(index)) or ()
  }
  return {label: bad[label] for label in bad.keys() - readable}


def _set(label: Any) -> ClassSet | None:
  """The classes of a record; None where there is another label, or none."""
  if isinstance(label, tuple):
    return label
  return (int(label),) if isinstance(label, int | np.integer) else None


def _having(label: int, every: Sequence[Any]) -> np.ndarray:
  """The records of a class, int [k]."""
  return np.flatnonzero([label in (_set(x) or ()) for x in every])


def _name(names: Sequence[str], number: int) -> str:
  return shown(names[number]) if 0 <= number < len(names) else str(number)
