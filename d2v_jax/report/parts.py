"""What was measured of a network's parts, and what that says of the run."""

from collections.abc import Iterator, Sequence

from d2v_jax.report.heat_map import heat_map
from d2v_jax.report.markup import Element, table
from d2v_jax.report.page import note
from d2v_jax.report.stored import Stored
from d2v_jax.training.logs import metric_names
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
  parts = dict.fromkeys(
    found for name in run.names if (found := metric_names.of_part(name))
  )
  for measure, title in _TITLES.items():
    rows = {
      _words(part): run.points(f"health/{measure}/{part}")
      for kind, part in sorted(parts, key=lambda x: _order(x[1]))
      if kind == measure
    }
    if rows:
      yield heat_map(f"{run.label}: {title}" if several else title, rows)


def verdicts(runs: Sequence[Stored]) -> list[Element]:
  """What was found wrong with runs: since when, until when, what to do."""
  rows: list[tuple[Element | str, ...]] = []
  measured = False
  for run in runs:
    names = [name for name in run.names if metric_names.of_part(name)]
    measured = measured or bool(names)
    for name in names:
      kind, key = metric_names.of_part(name) or ("", "")
      if kind == "verdict" and key in DIAGNOSES:
        it = DIAGNOSES[key]
        rows.extend(
          (run.label, it.name, times, it.meaning, it.causes, it.action)
          for times in _times(run, name)
        )
  if rows:
    head = ("run", "verdict", "steps", "what it says", "usual causes", "next")
    return [table(head, rows)]
  if measured:
    return [note("No verdict: none of what is watched for was found.")]
  return []


def _times(run: Stored, name: str) -> Iterator[str]:
  """From and to when a verdict held, each time."""
  held: dict[float, float] = {}  # since -> last measurement
  for step, since in run.points(name):
    held[since] = step
  last = max(
    (x["step"] for x in run.lines if any(map(metric_names.of_part, x))),
    default=0,
  )
  for since, until in held.items():
    end = "at the end still" if until == last else f"to {until:,.0f}"
    yield f"{since:,.0f} {end}"


def _words(part: str) -> str:
  number = part.removeprefix("block_")
  return f"layer {int(number)}" if number != part else part


def _order(part: str) -> tuple[int, str]:
  """From the input to the output, and then what is learned."""
  order = ("features", "block", "output", "targets", "predictions")
  return order.index(part.split("_")[0]), part
