"""Compares runs of several objectives and seeds, over the work they cost.

  python -m experiments.objectives.report runs/images \\
    experiments/objectives/images --baseline "raw pixels=0.407"

The first argument holds workdirs called NAME-SEED. Writes result.json and
curves.png to the second and prints a table. The data of the runs must still be
where their configs say.
"""

import argparse
import json
import pathlib
import statistics
import sys
from typing import Any

from experiments import compute, seeds
from experiments.report import baseline

METRICS = {"linear_probe/accuracy": "linear probe", "knn/accuracy": "20-NN"}


def main(argv: list[str] | None = None) -> int:
  """Runs the command line; returns the exit status."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("root", type=pathlib.Path, help="workdirs NAME-SEED")
  parser.add_argument("outdir", type=pathlib.Path, help="gets the two files")
  parser.add_argument(
    "--baseline",
    action="append",
    default=[],
    metavar="NAME=VALUE",
    help="a probe's accuracy to compare with; may be given several times",
  )
  args = parser.parse_args(argv)
  try:
    baselines = dict(map(baseline, args.baseline))
    records = seeds.collect(args.root)
    for record in records.values():
      config = {**record["config"], "seed": record["seeds"][0]}
      record["flops_per_update"] = compute.per_update(config)
  except ValueError as e:
    print(f"error: {e}", file=sys.stderr)
    return 2
  args.outdir.mkdir(parents=True, exist_ok=True)
  result = {"baselines": baselines, "objectives": records}
  path = args.outdir / "result.json"
  path.write_text(json.dumps(result, indent=2) + "\n")
  plot(records, baselines, args.outdir / "curves.png")
  print("\n".join(table(records)))
  return 0


def table(records: dict[str, dict[str, Any]]) -> list[str]:
  """Lines of a table in Markdown, after the first and the last evaluation."""
  head = ["objective", "updates", "GFLOP an update", "TFLOP"]
  head += [f"{name}, {when}" for name in METRICS.values() for when in _WHEN]
  lines = [head, ["---"] * len(head)]
  for name, record in records.items():
    updates = record["config"]["total_steps"]
    flops = record["flops_per_update"]
    numbers = (
      f"{updates}",
      f"{flops / 1e9:.2f}",
      f"{flops * updates / 1e12:.2f}",
    )
    ends = record["evaluations"][0], record["evaluations"][-1]
    found = [seeds.summary(end[key]) for key in METRICS for end in ends]
    lines.append([name, *numbers, *found])
  return [f"| {' | '.join(line)} |" for line in lines]


_WHEN = ("untrained", "trained")


def plot(
  records: dict[str, dict[str, Any]],
  baselines: dict[str, float],
  path: pathlib.Path,
) -> None:
  """Draws accuracies over operations: mean, lowest and highest of the seeds.

  Args:
    records: of `seeds.collect`, with `flops_per_update`.
    baselines: name -> accuracy of a probe, drawn as horizontal lines.
    path: of the image, *.png.
  """
  import matplotlib

  matplotlib.use("Agg")
  from matplotlib import pyplot

  figure, axes = pyplot.subplots(1, 2, figsize=(11, 4), layout="constrained")
  for axis, (key, title) in zip(axes, METRICS.items(), strict=True):
    for name, record in records.items():
      work = record["flops_per_update"] / 1e12
      evaluated = record["evaluations"]
      x = [line["step"] * work for line in evaluated]
      y = [statistics.mean(line[key]) for line in evaluated]
      drawn = axis.plot(x, y, marker="o", markersize=4, label=name)[0]
      axis.fill_between(
        x,
        [min(line[key]) for line in evaluated],
        [max(line[key]) for line in evaluated],
        color=drawn.get_color(),
        alpha=0.15,
      )
    axis.set(title=title, xlabel="TFLOP of training", ylabel="accuracy")
  for i, (name, value) in enumerate(baselines.items()):
    axes[0].axhline(value, color=f"C{7 + i}", linestyle="--", label=name)
  handles = axes[0].get_legend_handles_labels()
  figure.legend(*handles, loc="outside right center", fontsize="small")
  figure.savefig(path, dpi=100)
  pyplot.close(figure)


if __name__ == "__main__":
  sys.exit(main())
