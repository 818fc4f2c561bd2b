"""What is written and said of a run at its end; nothing of it can fail one."""

import math
from collections.abc import Iterator

import jax
from etils import epath

from d2v_jax.report import curves, of_runs, parts, stored, summary
from d2v_jax.report.chart import shown
from d2v_jax.report.stored import Stored
from d2v_jax.training.logs import metric_names
from d2v_jax.training.workdir import side_files

FILE = "report.html"
# As many examples as the command takes.
_LEARNED = 2000


def write(workdir: epath.Path, kind: str) -> None:
  """Writes the page about a run, and prints where it stands.

  Args:
    workdir: of the run.
    kind: config.report, how much of the page is made.
  """
  if jax.process_index() != 0:
    return
  try:
    run = stored.read(workdir)
    if kind != "none":
      # Reading weights is a matter of all processes.
      whole = kind == "whole" and jax.process_count() == 1
      page = of_runs.page([str(workdir)], _LEARNED if whole else None)
      side_files.replace(workdir / FILE, page.html())
    for line in ending(run, (workdir / FILE).exists()):
      print(line)
  # Whatever it is, the run is finished, and its weights are saved.
  except Exception as e:
    print(f"the page about this run could not be made: {e}")


def ending(run: Stored, has_page: bool) -> Iterator[str]:
  """Says what began, what came out, where it lies and what can be done next.

  Args:
    run: that has ended.
    has_page: whether there is a page about it.
  """
  seconds = summary.training_seconds(run)
  took = "" if math.isnan(seconds) else f" in {summary.duration(seconds)}"
  done = run.lines[-1]["step"] if run.lines else 0
  yield f"{run.workdir}: {done:,} steps{took}"
  for name in ("loss", *metric_names.results_first(run.names)):
    if points := run.points(name):
      beside = curves.references(run, name)
      told = ", ".join(f"{k} {shown(v)}" for k, v in beside.items())
      yield (
        f"  {curves.words(name)}: {shown(points[0][1])} at step "
        f"{points[0][0]:g}, {shown(points[-1][1])} at step {points[-1][0]:g}"
        + (f" ({told})" if told else "")
      )
  for line in parts.standing(run):
    yield f"  verdict: {line}"
  if has_page:
    yield f"  curves: {run.workdir / FILE}"
  yield "next, pictures, nearest neighbours, and features of your files:"
  yield f"  d2v report {run.workdir}"
  yield (
    f"  d2v features --run={run.workdir} --input=FILES --output=features.npz"
  )
