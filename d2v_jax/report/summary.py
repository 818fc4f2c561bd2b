"""Sections in numbers and words: results, cost, config and provenance."""

import json
import math
from collections.abc import Sequence

from d2v_jax.config import flatten
from d2v_jax.report import curves
from d2v_jax.report.chart import shown
from d2v_jax.report.markup import Element, table, tag
from d2v_jax.report.page import Section, missing, note
from d2v_jax.report.stored import Stored
from d2v_jax.training.logs import metric_names


def results(runs: Sequence[Stored]) -> Section:
  """A table of what came out, beside what it is compared with."""
  rows: list[tuple[Element | str, ...]] = []
  for run in runs:
    for name in filter(metric_names.is_result, run.names):
      beside = curves.references(run, name)
      told = ", ".join(f"{k} {v:.3f}" for k, v in beside.items())
      rows.append(
        (
          run.label,
          curves.words(name),
          _first(run, name),
          tag("b", shown(run.last(name))),
          told or "-",
        )
      )
  if not rows:
    return missing(
      "Results",
      "No evaluator has measured anything: config.evaluation has none, or none "
      "was due yet.",
    )
  head = ("run", "metric", "at first", "at last", "compared with")
  return Section("Results", (table(head, rows),))


def cost(runs: Sequence[Stored]) -> Section:
  """Time, speed, and what part of the devices was used."""
  rows: list[tuple[Element | str, ...]] = []
  for run in runs:
    rows.append(
      (
        run.label,
        _steps(run),
        duration(training_seconds(run)),
        _median(run, "examples_per_sec", "{:,.0f}"),
        _median(run, "peak_fraction", "{:.1%}"),
        _median(run, "input_wait", "{:.0%}"),
        ", ".join(dict.fromkeys(str(x.get("devices")) for x in run.starts)),
      )
    )
  head = (
    "run",
    "steps",
    "training time",
    "examples per second",
    "share of the devices' peak",
    "waiting for input",
    "devices",
  )
  content = [table(head, rows)]
  if charts := curves.speed(runs):
    content.append(tag("div", *charts, class_="charts"))
    content.append(
      note(
        "Training time is that of the steps, from the logged speed, without "
        "compilation, evaluation and checkpoints. The share of the peak is "
        "known of accelerators only."
      )
    )
  else:
    content.append(note("No speed was logged: nothing was trained here."))
  return Section("Cost", tuple(content))


def training_seconds(run: Stored) -> float:
  """Seconds of all steps by the logged speed; NaN where none was logged."""
  size = run.config.get("batch_size", math.nan)
  logged = run.points("examples_per_sec")
  if not logged:
    return math.nan
  steps = [0.0, *(step for step, _ in logged)]
  return sum(
    (step - before) * size / rate
    for before, (step, rate) in zip(steps, logged, strict=False)
  )


def duration(seconds: float) -> str:
  """A time in words; NaN is not known."""
  if math.isnan(seconds):
    return "not known"
  minutes, rest = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  if hours:
    return f"{hours} h {minutes} min"
  return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def configuration(runs: Sequence[Stored]) -> Section:
  """The whole config of each run, and where several differ."""
  content: list[Element] = []
  if len(runs) > 1:
    flat = [
      {path: json.dumps(value) for path, value in flatten(run.config)}
      for run in runs
    ]
    paths = dict.fromkeys(path for config in flat for path in config)
    rows: list[tuple[Element | str, ...]] = [
      (tag("code", f"config.{path}"), *(x.get(path, "-") for x in flat))
      for path in paths
      if len({x.get(path, "-") for x in flat}) > 1
    ]
    if rows:
      head = ("where they differ", *(run.label for run in runs))
      content.append(table(head, rows))
    else:
      content.append(note("The configs of these runs are the same."))
  for run in runs:
    content.append(
      tag(
        "details",
        tag("summary", f"The config of {run.label}"),
        tag("pre", json.dumps(run.config, indent=2, ensure_ascii=False)),
      )
    )
  return Section("Config", tuple(content))


def provenance(runs: Sequence[Stored]) -> Section:
  """When, where and with what each run was started."""
  rows: list[tuple[Element | str, ...]] = []
  for run in runs:
    for start in run.starts:
      versions = start.get("versions") or {}
      rows.append(
        (
          run.label,
          str(start.get("step", "-")),
          str(start.get("time", "-")),
          tag("code", str(start.get("commit") or "-")),
          str(start.get("devices", "-")),
          f"Python {start.get('python', '-')}, "
          + ", ".join(f"{k} {v}" for k, v in versions.items()),
          tag("code", " ".join(map(str, start.get("command") or ["-"]))),
        )
      )
  if not rows:
    return missing(
      "Provenance", "run.json names no start: these weights were imported."
    )
  head = (
    "run",
    "from step",
    "time",
    "commit",
    "devices",
    "versions",
    "command",
  )
  return Section("Provenance", (table(head, rows),))


def _first(run: Stored, name: str) -> str:
  points = run.points(name)
  return shown(points[0][1]) if len(points) > 1 else "-"


def _steps(run: Stored) -> str:
  total = run.config.get("total_steps")
  done = run.lines[-1]["step"] if run.lines else 0
  return f"{done:,}" + (f" of {total:,}" if isinstance(total, int) else "")


def _median(run: Stored, name: str, form: str) -> str:
  values = sorted(value for _, value in run.points(name))
  return form.format(values[len(values) // 2]) if values else "not known"
