"""The page about runs."""

import functools
import json
from collections.abc import Callable, Sequence

from d2v_jax.report import (
  confusion,
  curves,
  neighbours,
  seen,
  stored,
  summary,
  token_maps,
)
from d2v_jax.report.markup import Element
from d2v_jax.report.network import Network
from d2v_jax.report.opened import opened
from d2v_jax.report.page import Page, Section, attempt, missing
from d2v_jax.report.pictures.drawers import drawer
from d2v_jax.report.stored import Stored

# What the first batch of a run depends on.
_OF_DATA = ("data", "seed", "batch_size", "modality", "encoder")
# Pictures of more would make a page of more than three megabytes.
_MOST_RUNS = 3
_SEEN = "What the network sees"
# What shows a network: title -> content.
OF_NETWORK: dict[str, Callable[[Network], list[Element]]] = {
  "Features of tokens": token_maps.content,
  "Nearest neighbours": neighbours.content,
  "Confusion": confusion.content,
}


def page(workdirs: Sequence[str], learned: int | None) -> Page:
  """The page about one run, or several beside one another.

  Args:
    workdirs: of runs, probes or imports.
    learned: at most so many examples neighbours are looked for among, and a
      probe learns from; None: without what data and weights are needed for.

  Raises:
    ValueError: one of them is none.
  """
  labels = stored.labels(workdirs)
  runs = [stored.read(*x) for x in zip(workdirs, labels, strict=True)]
  sections = [
    summary.results(runs),
    curves.training(runs),
    curves.evaluations(runs),
    curves.health(runs),
    *_pictures(runs, learned),
    summary.cost(runs),
    summary.configuration(runs),
    summary.provenance(runs),
  ]
  return Page(" and ".join(labels), _subtitle(runs), sections)


def _pictures(runs: Sequence[Stored], learned: int | None) -> list[Section]:
  if learned is None:
    reason = (
      "This was not made at the end of the run (config.report='whole' does): "
      f"`d2v report {runs[0].workdir}` makes it."
    )
    return [missing(title, reason) for title in (_SEEN, *OF_NETWORK)]
  sections = []
  shown = set()
  for run in runs[:_MOST_RUNS]:
    ending = f": {run.label}" if len(runs) > 1 else ""
    part = functools.cache(functools.partial(_network, run, learned))
    # Of the same data once.
    data = json.dumps([run.config.get(k) for k in _OF_DATA], sort_keys=True)
    if data not in shown:
      show = functools.partial(_of_network, part, _seen)
      sections.append(attempt(f"{_SEEN}{ending}", show))
    shown.add(data)
    for title, content in OF_NETWORK.items():
      show = functools.partial(_of_network, part, content)
      sections.append(attempt(f"{title}{ending}", show))
  if others := [run.label for run in runs[_MOST_RUNS:]]:
    reason = (
      f"Pictures are of the first {_MOST_RUNS} runs only; of "
      f"{', '.join(others)} `d2v report` makes them one by one."
    )
    sections.append(missing("Pictures of the other runs", reason))
  return sections


def _seen(network: Network) -> list[Element]:
  return seen.content(network.opened, network.drawer)


def _of_network(
  network: Callable[[], Network], content: Callable[[Network], list[Element]]
) -> list[Element]:
  return content(network())


def _network(run: Stored, learned: int) -> Network:
  it = opened(run.config)
  return Network(run, it, drawer(it.dataset), learned)


def _subtitle(runs: Sequence[Stored]) -> str:
  parts = []
  for run in runs:
    objective = (run.config.get("objective") or {}).get("name", "a probe")
    encoder = run.config.get("encoder") or {}
    parts.append(
      f"{run.label}: {objective} of {run.config.get('modality', '?')}, "
      f"{encoder.get('name', '?')} of width {encoder.get('width', '?')} and "
      f"depth {encoder.get('depth', '?')}"
    )
  return "; ".join(parts)
