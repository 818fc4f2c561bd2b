"""Records that cannot be used, and odd ones."""

import collections
import re
from collections.abc import Iterator

from d2v_jax.data.checking.finding import Finding, named
from d2v_jax.data.checking.survey import Survey

_NUMBER = re.compile(r"\d+(\.\d+)?")


def reasons(survey: Survey) -> list[list[int]]:
  """Returns the unreadable records of each reason, most frequent first.

  Reasons that differ in numbers alone are one.
  """
  groups = collections.defaultdict(list)
  for index, reason in survey.unreadable.items():
    groups[_NUMBER.sub("0", reason)].append(index)
  return sorted(groups.values(), key=len, reverse=True)


def oddities(survey: Survey) -> dict[str, list[int]]:
  """Returns oddity -> the records that have it."""
  groups = collections.defaultdict(list)
  for index, look in survey.looks.items():
    if look.oddity:
      groups[look.oddity].append(index)
  return dict(groups)


def findings(survey: Survey, budget: int | None) -> Iterator[Finding]:
  """What is wrong with single records.

  Args:
    survey: of the split.
    budget: of a split to train on, config.data.max_corrupt; None for others,
      which leave such records out.
  """
  at, looked = survey.name, survey.looked_at
  if survey.broken:
    first = next(iter(survey.broken))
    yield Finding(
      f"{at}: {len(survey.broken)} of {looked} records looked at would stop a "
      f"run; the first is {survey.record_name(first)}: {survey.broken[first]}",
      stops=True,
    )
  if survey.is_complete and survey.total and not survey.looks:
    yield Finding(
      f"{at}: none of the {survey.total} records can be read; what follows "
      "says why.",
      stops=True,
    )
  if budget is not None:
    yield from _over_budget(survey, budget)
  for indices in reasons(survey):
    names = [survey.record_name(i) for i in indices]
    fate = "is passed over" if budget is not None else "is left out"
    yield Finding(
      f"{at}: {len(indices)} of {looked} records looked at cannot be used "
      f"({named(names)}): {survey.unreadable[indices[0]]}. Each {fate}; repair "
      "or remove them."
    )
  for oddity, indices in oddities(survey).items():
    names = [survey.record_name(i) for i in indices]
    yield Finding(
      f"{at}: {oddity}: {len(indices)} of {looked} records looked at "
      f"({named(names)}); if nothing can be learned from them, remove them."
    )


def _over_budget(survey: Survey, budget: int) -> Iterator[Finding]:
  number = len(survey.unreadable)
  if number > budget:
    yield Finding(
      f"{survey.name}: {number} of {survey.looked_at} records looked at cannot "
      f"be used, more than config.data.max_corrupt={budget}, which stops a "
      "run; repair or remove them, or raise it.",
      stops=True,
    )
  elif number and number / survey.looked_at * survey.total > budget:
    expected = round(number / survey.looked_at * survey.total)
    yield Finding(
      f"{survey.name}: {number} of {survey.looked_at} records looked at cannot "
      f"be used; if the others are alike, {expected} of {survey.total} cannot, "
      f"and a run stops at config.data.max_corrupt={budget}; look at all of "
      "them with d2v check --sample=0."
    )
