"""What a check of data has found, as a page of text."""

import textwrap
from collections.abc import Iterator, Sequence

import numpy as np

from d2v_jax.data.checking import classes, duplicates, moments
from d2v_jax.data.checking.classes import Classes
from d2v_jax.data.checking.read_examples import Fit, ReadExamples
from d2v_jax.data.checking.report import Report, kinds, numbers
from d2v_jax.data.length_report import quantiles

_MOST_CLASSES = 20  # rows of the table
_MOST_KINDS = 6  # of a line
_LIST = textwrap.TextWrapper(
  80,
  initial_indent="- ",
  subsequent_indent="  ",
  break_long_words=False,
  break_on_hyphens=False,
)
_SMALL = 0.01  # from which on two places behind the point are enough
_WORTH = 0.05  # less of padding, to be named


def page(report: Report) -> str:
  """The findings first, then tables."""
  parts = [
    _findings(report),
    _splits(report),
    _shared(report),
    _classes(report),
    _numbers(report),
    _stored(report),
    _moments(report),
    _training(report.reading),
  ]
  return "\n\n".join("\n".join(lines) for lines in map(list, parts) if lines)


def _findings(report: Report) -> Iterator[str]:
  if not report.findings:
    yield f"{report.name}: nothing was found."
    return
  for finding in report.findings:
    mark = "STOPS A RUN: " if finding.stops else ""
    yield _LIST.fill(mark + finding.text)


def _splits(report: Report) -> Iterator[str]:
  rows: list[tuple[str, ...]] = [
    ("", "records", "looked at", "of no use", "copies")
  ]
  for name, split in report.splits.items():
    if split.same_as:
      rows.append((_short(name), f"the same as {_short(split.same_as)}"))
    elif name not in report.surveys:
      rows.append((_short(name), "cannot be opened"))
    else:
      survey = report.surveys[name]
      bad = len(survey.unreadable) + len(survey.broken)
      copies = sum(len(group) - 1 for group in duplicates.within(survey))
      counts = (survey.total, survey.looked_at, bad, copies)
      rows.append((_short(name), *map(_count, counts)))
  yield from _table(rows)


def _shared(report: Report) -> Iterator[str]:
  for a, b in report.pairs():
    count = len(duplicates.shared(report.surveys[b], report.surveys[a]))
    yield f"looked at in {_short(b)}, and in {_short(a)}, too: {_count(count)}"


def _classes(report: Report) -> Iterator[str]:
  found = {
    name: c
    for name, survey in report.surveys.items()
    if (c := classes.of(survey)) is not None
  }
  if not found:
    return
  heads = [
    _short(name) + " (looked at)" * (not c.of_all) for name, c in found.items()
  ]
  names = list(dict.fromkeys(x for c in found.values() for x in c.counts))
  total = {x: sum(c.counts.get(x, 0) for c in found.values()) for x in names}
  shown = names
  if len(names) > _MOST_CLASSES:
    half = _MOST_CLASSES // 2
    order = sorted(names, key=lambda x: -total[x])
    shown = order[:half] + order[-half:]
  yield from _table(
    [
      ("class", *heads),
      *((x, *(_share(c, x) for c in found.values())) for x in shown),
    ]
  )
  if len(names) > len(shown):
    yield (
      f"(of {len(names)} classes the {half} largest and the {half} smallest; "
      "--json has all)"
    )


def _share(found: Classes, name: str) -> str:
  count = found.counts.get(name, 0)
  return f"{_count(count)}  {found.shares.get(name, 0):6.1%}"


def _numbers(report: Report) -> Iterator[str]:
  for name, survey in report.surveys.items():
    rows: list[tuple[str, ...]] = []
    for what, values in numbers(survey).items():
      spread = quantiles(values)
      if not rows:
        rows.append((_short(name), *(f"{q} %" for q in spread)))
      rows.append((f"  {what}", *map(_number, spread.values())))
    yield from _table(rows)


def _stored(report: Report) -> Iterator[str]:
  for name, survey in report.surveys.items():
    parts = []
    for what, counts in kinds(survey).items():
      most = list(counts.items())[:_MOST_KINDS]
      some = [f"{kind} ({_count(number)})" for kind, number in most]
      if len(counts) > len(some):
        some.append(f"{len(counts) - len(some)} other kinds")
      parts.append(f"  {what}: {', '.join(some)}")
    if parts:
      yield f"{_short(name)} is stored as"
      yield from parts


def _moments(report: Report) -> Iterator[str]:
  for name, survey in report.surveys.items():
    if (found := moments.of(survey)) is not None:
      yield f"{_short(name)}: mean and standard deviation of each channel"
      yield f'  --{report.normalised_at}.mean="{_tuple(found.mean)}"'
      yield f'  --{report.normalised_at}.std="{_tuple(found.std)}"'
      return  # what is evaluated is normalised like what is learned from


def _training(reading: ReadExamples | None) -> Iterator[str]:
  if reading is None:
    return
  yield (
    f"In training ({_count(reading.read)} of {_count(reading.total)} examples "
    "were read as it reads them):"
  )
  if reading.kept is not None:
    yield f"  kept of an example: {_percentages(reading.kept)}"
  for length, (tokens, count) in reading.lengths.items():
    if length is None:
      yield f"  tokens of an example: {_count(tokens)}"
    else:
      yield (
        f"  batches of length {_count(length)}: {_count(tokens)} tokens each, "
        f"{_count(count)} examples ({count / reading.total:.0%})"
      )
  if reading.fit is not None:
    yield from _fit(reading.fit)
  if reading.num_masks:
    yield (
      f"  masks: {reading.num_masks}, each hides {_percentages(reading.hidden)}"
    )
  if reading.visible is not None:
    yield f"  tokens encoded with each mask: {_count(reading.visible)}"
  yield (
    f"  {reading.read / reading.seconds:,.0f} examples a second by "
    f"{reading.threads} threads here: {_duration(reading.epoch_seconds)} for "
    f"all {_count(reading.total)}"
  )


def _fit(fit: Fit) -> Iterator[str]:
  yield (
    f"  of the batches {fit.padding:.1%} is padding, and {fit.cropped:.1%} of "
    "all there is gets cropped"
  )
  if fit.cropped or fit.best_padding < fit.padding - _WORTH:
    yield (
      f"  these lengths hold all, with {fit.best_padding:.1%} of padding: "
      f'--config.data.buckets.lengths="{fit.best}"'
    )


def _table(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
  """Lines of columns, the first to the left, the others to the right.

  A row of two, where others have more, is a name and a remark.
  """
  columns = max(map(len, rows), default=0)
  whole = [row for row in rows if len(row) == columns]
  widths = [max(map(len, column)) for column in zip(*whole, strict=True)]
  first = max((len(row[0]) for row in rows), default=0)
  for name, *rest in rows:
    cells = [name.ljust(first)]
    if len(rest) + 1 == columns:
      rest = [x.rjust(n) for x, n in zip(rest, widths[1:], strict=True)]
    yield "  ".join([*cells, *rest]).rstrip()


def _percentages(shares: np.ndarray) -> str:
  low, high = np.quantile(shares, [0.05, 0.95])
  mean = f"{shares.mean():.1%} on average"
  if low == high:
    return mean
  return f"{mean} ({low:.1%} to {high:.1%} in nine of ten)"


def _count(number: int) -> str:
  return f"{number:,}"


def _number(value: float) -> str:
  if value == round(value):
    return f"{value:,.0f}"
  return f"{value:,.2f}" if abs(value) >= _SMALL else f"{value:.2g}"


def _tuple(values: np.ndarray) -> str:
  inside = ", ".join(f"{x:.4g}" for x in values)
  return f"({inside},)" if len(values) == 1 else f"({inside})"


def _duration(seconds: float) -> str:
  if seconds < 1:
    return f"{seconds * 1e3:.0f} ms"
  if seconds < 120:
    return f"{seconds:.1f} s"
  if seconds < 7200:
    return f"{seconds / 60:.0f} min"
  return f"{seconds / 3600:.1f} h"


def _short(name: str) -> str:
  """A path in the config as the tables have it."""
  return name.removeprefix("config.")
