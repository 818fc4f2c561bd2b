"""Records of the same content, in one split and in two."""

import collections
from collections.abc import Iterator, Mapping, Sequence

from d2v_jax.data.checking.finding import Finding, named
from d2v_jax.data.checking.survey import Survey

_NOT_ALL = " d2v check --sample=0 compares all of both."


def within(survey: Survey) -> list[list[int]]:
  """Returns the records of each content that several have, as indices."""
  groups = collections.defaultdict(list)
  for index, look in survey.looks.items():
    groups[look.digest].append(index)
  return [group for group in groups.values() if len(group) > 1]


def shared(one: Survey, other: Survey) -> list[tuple[int, int]]:
  """Returns the records of one split whose content another has, too.

  Returns:
    Index of each, and that of the first like it in the other.
  """
  first: dict[bytes, int] = {}
  for index, look in other.looks.items():
    first.setdefault(look.digest, index)
  return [
    (index, first[look.digest])
    for index, look in one.looks.items()
    if look.digest in first
  ]


def findings(
  surveys: Sequence[Survey], learned: Sequence[str]
) -> Iterator[Finding]:
  """Examples that are measured on and learned from, and repeated ones.

  Args:
    surveys: of the splits.
    learned: names of those that something is learned from; among themselves
      they may share examples.
  """
  tested = [s for s in surveys if s.name not in learned]
  trained = [s for s in surveys if s.name in learned]
  for test in tested:
    for train in trained:
      yield from _leaks(test, train)
  for survey in surveys:
    yield from _repeats(survey)


def same_splits(
  same_as: Mapping[str, str], learned: Sequence[str]
) -> Iterator[Finding]:
  """Splits that are measured on and are those that are learned from.

  Args:
    same_as: name of a split -> that of another one of the same records.
    learned: names of those that something is learned from.
  """
  for name, other in same_as.items():
    if name not in learned and other in learned:
      yield Finding(
        f"{name} has the same records as {other}: what is measured on them "
        "says nothing of new data; choose others."
      )


def _leaks(test: Survey, train: Survey) -> Iterator[Finding]:
  pairs = shared(test, train)
  if not pairs:
    return
  names = [f"{test.record_name(a)} = {train.record_name(b)}" for a, b in pairs]
  yield Finding(
    f"{len(pairs)} of {len(test.looks)} examples of {test.name} that were "
    f"looked at are also in {train.name} ({named(names)}): what is measured on "
    "them says nothing of new data; take them out of one of the two."
    + _NOT_ALL
    * (not (test.is_complete and train.is_complete))
  )


def _repeats(survey: Survey) -> Iterator[Finding]:
  groups = within(survey)
  if not groups:
    return
  labels = survey.labels
  copies = sum(len(group) - 1 for group in groups)
  mixed = sum(len({labels.get(i) for i in group}) > 1 for group in groups)
  names = [" = ".join(map(survey.record_name, group[:2])) for group in groups]
  yield Finding(
    f"{survey.name}: {copies} of {len(survey.looks)} examples that were looked "
    f"at {'is a copy' if copies == 1 else 'are copies'} of another one"
    + f", {mixed} of them under another label" * bool(mixed)
    + f" ({named(names)}): leave them out unless they are meant."
  )
