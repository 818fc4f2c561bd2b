"""What was measured of a network's parts, and what that says of the run."""

from collections.abc import Iterator, Sequence

from d2v_jax.report.heat_map import heat_map
from d2v_jax.report.markup import Element, table
from d2v_jax.report.page import note
from d2v_jax.report.stored import Stored
from d2v_jax.training.logs import metric_names
from d2v_jax.training.trouble import verdict
from d2v_jax.training.trouble.diagnoses import DIAGNOSES

_TITLES = {
  "std": "standard deviation over tokens, by part",
  "spread": "spread of tokens (1: about a mean of 0), by part",
  "rank": "effective rank, by part",
  "position_share": "share of position, by part",
}


def by_part(run: Stored, several: bool) -> Iterator[Element]:
  """A map over steps and parts of each thing that was measured of parts.

  Args:
    run: whose.
    several: whether the page is about other runs, too.
  """
  found = [metric_names.of_part(name) or ("", "") for name in run.names]
  for measure, title in _TITLES.items():
    parts = {part for kind, part in found if kind == measure}
    rows = {
      _words(part): run.points(f"health/{measure}/{part}")
      for part in sorted(parts, key=_order)
    }
    if rows:
      yield heat_map(f"{run.label}: {title}" if several else title, rows)


def verdicts(runs: Sequence[Stored]) -> list[Element]:
  """What was found wrong with runs: since when, until when, what to do."""
  content: list[Element] = []
  rows: list[tuple[Element | str, ...]] = []
  measured = False
  for run in runs:
    if stopped := verdict.reason(run.workdir):
      content.append(note(f"{run.label} was stopped: {stopped}"))
    names = [name for name in run.names if metric_names.of_part(name)]
    measured = measured or bool(names)
    for name in names:
      kind, key = metric_names.of_part(name) or ("", "")
      if kind == "verdict" and key in DIAGNOSES:
        it = DIAGNOSES[key]
        rows.extend(
          (run.label, it.name, _in_words(*x), it.meaning, it.causes, it.action)
          for x in _times(run, name)
        )
  if rows:
    head = ("run", "verdict", "steps", "what it says", "usual causes", "next")
    content.append(table(head, rows))
  elif measured and not content:
    content.append(note("No verdict: none of what is watched for was found."))
  return content


def standing(run: Stored) -> list[str]:
  """Verdicts that held at the end of a run, in words."""
  found = []
  for name in run.names:
    kind, key = metric_names.of_part(name) or ("", "")
    if kind == "verdict" and key in DIAGNOSES:
      found += [
        f"{DIAGNOSES[key].name} since step {since:,.0f}"
        for since, until in _times(run, name)
        if until is None
      ]
  return found


def _times(run: Stored, name: str) -> Iterator[tuple[float, float | None]]:
  """Since and until when a verdict held, each time; None: to the end."""
  held: dict[float, float] = {}  # since -> last measurement
  for step, since in run.points(name):
    held[since] = step
  last = max(
    (x["step"] for x in run.lines if any(map(metric_names.of_part, x))),
    default=0,
  )
  for since, until in held.items():
    yield since, None if until == last else until


def _in_words(since: float, until: float | None) -> str:
  if until is None:
    return f"{since:,.0f} at the end still"
  return f"{since:,.0f} to {until:,.0f}"


def _words(part: str) -> str:
  number = part.removeprefix("block_")
  return f"layer {int(number)}" if number != part else part


def _order(part: str) -> tuple[int, str]:
  """From the input to the output, and then what is learned."""
  order = ("features", "block", "output", "targets", "predictions")
  return order.index(part.split("_")[0]), part
