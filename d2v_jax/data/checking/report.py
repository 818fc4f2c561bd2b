"""All that a check of data has found."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from d2v_jax.data.checking import classes, duplicates, moments, records
from d2v_jax.data.checking.finding import Finding
from d2v_jax.data.checking.opening import TRAINING, Split
from d2v_jax.data.checking.read_examples import ReadExamples
from d2v_jax.data.checking.survey import Survey
from d2v_jax.data.length_report import quantiles


@dataclasses.dataclass(frozen=True)
class Report:
  """What a check of data has found.

  Attributes:
    name: of the config.
    splits: name -> split.
    surveys: name -> what was looked at, of splits that are not the same as
      another.
    findings: those that stop a run first.
    reading: what training makes of examples; None where that is not known.
    normalised_at: section of the config for mean and standard deviation.
  """

  name: str
  splits: Mapping[str, Split]
  surveys: Mapping[str, Survey]
  findings: Sequence[Finding]
  reading: ReadExamples | None
  normalised_at: str

  @property
  def stops(self) -> bool:
    """Whether a run cannot train or evaluate on these data."""
    return any(finding.stops for finding in self.findings)

  def as_json(self) -> dict[str, Any]:
    """All of it, in plain objects."""
    made: dict[str, Any] = {
      "config": self.name,
      "stops": self.stops,
      "findings": [finding._asdict() for finding in self.findings],
      "splits": {name: self._split(s) for name, s in self.splits.items()},
      "shared": {
        f"{a} and {b}": len(duplicates.shared(self.surveys[a], self.surveys[b]))
        for a, b in self.pairs()
      },
    }
    if self.reading is not None:
      made["training"] = _reading(self.reading)
    return made

  def pairs(self) -> list[tuple[str, str]]:
    """Pairs of splits that were looked at."""
    names = list(self.surveys)
    return [(a, b) for k, a in enumerate(names) for b in names[k + 1 :]]

  def _split(self, split: Split) -> dict[str, Any]:
    if split.same_as:
      return {"same_as": split.same_as}
    if split.name not in self.surveys:
      return {}
    survey = self.surveys[split.name]
    made: dict[str, Any] = {
      "records": survey.total,
      "looked_at": survey.looked_at,
      "unreadable": [
        {
          "reason": survey.unreadable[group[0]],
          "records": list(map(survey.record_name, group)),
        }
        for group in records.reasons(survey)
      ],
      "odd": {
        oddity: list(map(survey.record_name, group))
        for oddity, group in records.oddities(survey).items()
      },
      "duplicates": [
        list(map(survey.record_name, group))
        for group in duplicates.within(survey)
      ],
      "numbers": {name: spread(x) for name, x in numbers(survey).items()},
      "stored_as": kinds(survey),
    }
    if (found := classes.of(survey)) is not None:
      made["classes"] = {
        name: {"count": count, "share": found.shares[name]}
        for name, count in found.counts.items()
      }
      made["classes_of_all"] = found.of_all
    if (channels := moments.of(survey)) is not None:
      made["mean"] = channels.mean.tolist()
      made["std"] = channels.std.tolist()
    return made


def all_findings(
  surveys: Mapping[str, Survey], learned: Sequence[str], budget: int
) -> list[Finding]:
  """What is wrong with records, with classes, and among splits.

  Args:
    surveys: name of a split -> what was looked at.
    learned: names of splits that something is learned from.
    budget: config.data.max_corrupt.
  """
  looked_at = list(surveys.values())
  found = [
    finding
    for survey in looked_at
    for finding in records.findings(
      survey, budget if survey.name == TRAINING else None
    )
  ]
  found += classes.findings(looked_at)
  found += duplicates.findings(looked_at, learned)
  return found


def numbers(survey: Survey) -> dict[str, np.ndarray]:
  """What is measured -> its value for each record that has it."""
  found: dict[str, list[float]] = {}
  for look in survey.looks.values():
    for name, value in look.numbers.items():
      found.setdefault(name, []).append(value)
  scores = [x for x in survey.labels.values() if isinstance(x, float)]
  if scores:
    found["label"] = scores
  return {name: np.array(values) for name, values in found.items()}


def kinds(survey: Survey) -> dict[str, dict[str, int]]:
  """How records are stored -> number of records of each kind."""
  found: dict[str, dict[str, int]] = {}
  for look in survey.looks.values():
    for name, kind in look.kinds.items():
      counts = found.setdefault(name, {})
      counts[kind] = counts.get(kind, 0) + 1
  return {
    name: dict(sorted(counts.items(), key=lambda x: (-x[1], x[0])))
    for name, counts in found.items()
  }


def spread(values: np.ndarray) -> dict[str, float]:
  """Smallest, largest, and what so many per cent are not above."""
  return {f"{q} %": value for q, value in quantiles(values).items()}


def _reading(reading: ReadExamples) -> dict[str, Any]:
  made: dict[str, Any] = {
    "examples": reading.total,
    "read": reading.read,
    "threads": reading.threads,
    "examples_per_second": reading.read / reading.seconds,
    "epoch_seconds": reading.epoch_seconds,
    "batches": [
      {"length": length, "tokens": tokens, "examples": count}
      for length, (tokens, count) in reading.lengths.items()
    ],
    "masks": reading.num_masks,
  }
  if reading.fit is not None:
    made["lengths"] = reading.fit._asdict()
  if reading.kept is not None:
    made["kept"] = spread(reading.kept)
  if reading.num_masks:
    made["hidden"] = spread(reading.hidden)
  if reading.visible is not None:
    made["visible"] = reading.visible
  return made
