"""Writes what a finished run measured: result.json and curves.png.

  python experiments/report.py runs/digits experiments/digits \\
    --baseline "raw pixels, logistic regression=0.956"

Run it on the machine that trained: the CPU's name is read where it runs.
"""

import argparse
import json
import os
import pathlib
import platform
import sys
from typing import Any

Record = dict[str, Any]


def main(argv: list[str] | None = None) -> int:
  """Runs the command line; returns the exit status."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("workdir", type=pathlib.Path, help="of a finished run")
  parser.add_argument("outdir", type=pathlib.Path, help="gets the two files")
  parser.add_argument(
    "--baseline",
    action="append",
    default=[],
    metavar="NAME=VALUE",
    help="an accuracy to compare with; may be given several times",
  )
  args = parser.parse_args(argv)
  try:
    baselines = dict(map(baseline, args.baseline))
    run, lines = read(args.workdir)
  except ValueError as e:
    print(f"error: {e}", file=sys.stderr)
    return 2
  args.outdir.mkdir(parents=True, exist_ok=True)
  record = summarise(run, lines, baselines)
  path = args.outdir / "result.json"
  path.write_text(json.dumps(record, indent=2) + "\n")
  plot(lines, baselines, args.outdir / "curves.png")
  return 0


def read(workdir: pathlib.Path) -> tuple[Record, list[Record]]:
  """Reads a finished run.

  Args:
    workdir: of the run; needs run.json and metrics.jsonl.

  Returns:
    What run.json holds, and one dict for each line of metrics.jsonl.

  Raises:
    ValueError: a file is missing or damaged, or the run has not finished.
  """
  try:
    run = json.loads((workdir / "run.json").read_text())
    text = (workdir / "metrics.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
  except FileNotFoundError as e:
    raise ValueError(
      f"{e.filename} is missing, so {workdir} is not the workdir of a run; "
      "check the first argument."
    ) from e
  except json.JSONDecodeError as e:
    raise ValueError(
      f"{workdir}: run.json or metrics.jsonl is damaged ({e}); repeat the run."
    ) from e
  total = run["config"]["total_steps"]
  last = lines[-1]["step"] if lines else 0
  if last < total:
    raise ValueError(
      f"{workdir} has not finished: its last line is of step {last} of "
      f"{total}; run its command again to go on."
    )
  return run, lines


def summarise(
  run: Record, lines: list[Record], baselines: dict[str, float]
) -> Record:
  """Collects what result.json holds.

  Args:
    run: what run.json holds.
    lines: those of metrics.jsonl.
    baselines: name -> accuracy to compare with.

  Returns:
    `first` and `final` are all evaluation metrics before the first and after
    the last update; `best` is each accuracy's highest value and its step.
  """
  start = run["starts"][-1]
  evaluated = [
    {k: v for k, v in line.items() if "/" in k or k == "step"}
    for line in lines
    if any("/" in k for k in line)
  ]
  return {
    "config": run["config"],
    "command": start["command"],
    "commit": start["commit"],
    "starts": len(run["starts"]),
    "python": start["python"],
    "versions": start["versions"],
    "devices": start["devices"],
    "host": f"{cpu()}, {os.cpu_count()} cores",
    "minutes_of_training": _minutes(lines, run["config"]["batch_size"]),
    "first": evaluated[0] if evaluated else {},
    "final": evaluated[-1] if evaluated else {},
    "best": {
      name: _best(evaluated, name)
      for name in dict.fromkeys(k for line in evaluated for k in line)
      if name.endswith("/accuracy")
    },
    "baselines": baselines,
  }


def plot(
  lines: list[Record], baselines: dict[str, float], path: pathlib.Path
) -> None:
  """Draws loss, standard deviations and accuracies or error rates over steps.

  Args:
    lines: those of metrics.jsonl.
    baselines: name -> accuracy, drawn as horizontal lines.
    path: of the image, *.png.
  """
  import matplotlib

  matplotlib.use("Agg")
  from matplotlib import pyplot

  names = dict.fromkeys(k for line in lines for k in line)
  accuracies = [k for k in names if k.endswith("/accuracy")]
  errors = [k for k in names if k.endswith(("/wer", "/cer"))]
  panels = {
    "loss": ["loss"],
    "standard deviation": ["target_std", "prediction_std"],
    **({"error rate": errors} if errors else {"accuracy": accuracies}),
  }
  if "target_std" not in names:  # fine-tuning has no targets to spread
    del panels["standard deviation"]
  figure, axes = pyplot.subplots(
    1, len(panels), figsize=(4.3 * len(panels), 3.6), layout="constrained"
  )
  for axis, (title, names) in zip(axes, panels.items(), strict=True):
    for name in names:
      points = [(line["step"], line[name]) for line in lines if name in line]
      if points:
        marker = "o" if "/" in name else None
        axis.plot(*zip(*points, strict=True), label=name, marker=marker)
    axis.set(title=title, xlabel="step")
  for i, (name, value) in enumerate(baselines.items()):
    axes[-1].axhline(value, color=f"C{i + 5}", linestyle="--", label=name)
  for axis in axes:
    if axis.get_legend_handles_labels()[0]:
      axis.legend(fontsize="small")
  figure.savefig(path, dpi=100)
  pyplot.close(figure)


def baseline(text: str) -> tuple[str, float]:
  """Takes NAME=VALUE apart.

  Raises:
    ValueError: it has another form.
  """
  name, _, value = text.rpartition("=")
  try:
    if name:
      return name, float(value)
  except ValueError:
    pass
  raise ValueError(
    f'--baseline {text!r} is not NAME=VALUE, such as "raw pixels=0.956".'
  )


def _best(evaluated, name):
  line = max((e for e in evaluated if name in e), key=lambda e: e[name])
  return {"step": line["step"], "value": line[name]}


def _minutes(lines, batch_size):
  # A rate covers the steps since the line before; evaluation, checkpoints and
  # compilation are not in it.
  seconds, previous = 0.0, 0
  for line in lines:
    if "examples_per_sec" in line:
      examples = (line["step"] - previous) * batch_size
      seconds += examples / line["examples_per_sec"]
      previous = line["step"]
  return round(seconds / 60, 2)


def cpu() -> str:
  """Name of this machine's processor."""
  try:
    info = pathlib.Path("/proc/cpuinfo").read_text()
  except OSError:
    return platform.processor() or platform.machine()
  for line in info.splitlines():
    if line.startswith("model name"):
      return line.partition(":")[2].strip()
  return platform.machine()


if __name__ == "__main__":
  sys.exit(main())
