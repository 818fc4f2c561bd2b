"""The page about runs."""

import json
from collections.abc import Callable, Sequence

from d2v_jax.report import curves, seen, stored, summary
from d2v_jax.report import page as page_lib
from d2v_jax.report.markup import Element
from d2v_jax.report.opened import Opened, opened
from d2v_jax.report.page import Section, missing
from d2v_jax.report.pictures.drawer import Drawer
from d2v_jax.report.pictures.drawers import drawer
from d2v_jax.report.stored import Stored

# What the first batch of a run depends on.
_OF_DATA = ("data", "seed", "batch_size", "modality", "encoder")

_Shown = Callable[[Opened, Drawer], list[Element]]


def page(workdirs: Sequence[str]) -> str:
  """The page about one run, or several beside one another.

  Args:
    workdirs: of runs, probes or imports.

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
    *_pictures(runs),
    summary.cost(runs),
    summary.configuration(runs),
    summary.provenance(runs),
  ]
  return page_lib.page(" and ".join(labels), _subtitle(runs), sections)


def _pictures(runs: Sequence[Stored]) -> list[Section]:
  sections = []
  shown = set()
  for run in runs:
    # Of the same data once.
    data = json.dumps([run.config.get(k) for k in _OF_DATA], sort_keys=True)
    if data not in shown:
      sections.append(_made("What the network sees", runs, run, seen.content))
    shown.add(data)
  return sections


def _made(
  title: str, runs: Sequence[Stored], run: Stored, content: _Shown
) -> Section:
  """A section of one run, or why there is none."""
  if len(runs) > 1:
    title = f"{title}: {run.label}"
  try:
    it = opened(run.config)
    return Section(title, tuple(content(it, drawer(it.dataset))))
  # The page is written whatever has become of the data or the weights, which
  # may be anybody's.
  except Exception as e:
    said = " ".join(str(e).split()) or type(e).__name__
    return missing(title, f"This cannot be shown: {said}")


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
