"""The page about runs."""

from collections.abc import Sequence

from d2v_jax.report import curves, stored, summary
from d2v_jax.report import page as page_lib


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
    summary.cost(runs),
    summary.configuration(runs),
    summary.provenance(runs),
  ]
  return page_lib.page(" and ".join(labels), _subtitle(runs), sections)


def _subtitle(runs: Sequence[stored.Stored]) -> str:
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
