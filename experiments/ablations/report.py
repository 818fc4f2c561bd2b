"""Draws what each change of the base does.

  python -m experiments.ablations.report runs/ablations experiments/ablations

The first argument holds workdirs called NAME-SEED, NAME as in digits.py. Writes
result.json and ablations.png to the second and prints a table.
"""

import argparse
import json
import pathlib
import statistics
import sys
from typing import Any

from experiments import seeds
from experiments.ablations.digits import BASE

METRICS = {"linear_probe/accuracy": "linear probe", "knn/accuracy": "20-NN"}
Records = dict[str, dict[str, Any]]


def main(argv: list[str] | None = None) -> int:
  """Runs the command line; returns the exit status."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("root", type=pathlib.Path, help="workdirs NAME-SEED")
  parser.add_argument("outdir", type=pathlib.Path, help="gets the two files")
  args = parser.parse_args(argv)
  try:
    records = seeds.collect(args.root)
    grouped = groups(records)
  except ValueError as e:
    print(f"error: {e}", file=sys.stderr)
    return 2
  args.outdir.mkdir(parents=True, exist_ok=True)
  path = args.outdir / "result.json"
  path.write_text(json.dumps(records, indent=2) + "\n")
  plot(grouped, args.outdir / "ablations.png")
  print("\n".join(table(grouped)))
  return 0


def groups(records: Records) -> dict[str, Records]:
  """Sorts runs by what they change.

  Returns:
    field -> value, as text -> record; the base is in all, with its own value,
    and numbers are in order.

  Raises:
    ValueError: there are no runs of the base.
  """
  if "base" not in records:
    raise ValueError("there is no run of the base, base-0; start it first.")
  found = {field: {value: records["base"]} for field, value in BASE.items()}
  for name, record in records.items():
    field, _, value = name.partition("=")
    if field in found:
      found[field][value] = record
  return {
    field: dict(sorted(values.items(), key=_order))
    for field, values in found.items()
    if len(values) > 1
  }


def _order(item):
  try:
    return 0, float(item[0]), ""
  except ValueError:
    return 1, 0.0, item[0]


def table(grouped: dict[str, Records]) -> list[str]:
  """Lines of a table in Markdown, of the last evaluations."""
  head = ["changed", "to", *METRICS.values(), "effective rank"]
  lines = [head, ["---"] * len(head)]
  for field, values in grouped.items():
    for value, record in values.items():
      last = record["evaluations"][-1]
      rank = statistics.mean(last["effective_rank/test"])
      mark = " (base)" if value == BASE[field] else ""
      found = [seeds.summary(last[key]) for key in METRICS]
      lines.append([field, f"{value}{mark}", *found, f"{rank:.1f}"])
  return [f"| {' | '.join(line)} |" for line in lines]


def plot(grouped: dict[str, Records], path: pathlib.Path) -> None:
  """Draws a panel for each field: every seed, and the mean.

  Args:
    grouped: of `groups`.
    path: of the image, *.png.
  """
  import matplotlib

  matplotlib.use("Agg")
  from matplotlib import pyplot

  figure, axes = pyplot.subplots(
    2,
    -(-len(grouped) // 2),
    figsize=(11, 6),
    layout="constrained",
    sharey=True,
    squeeze=False,
  )
  for axis, (field, values) in zip(axes.flat, grouped.items(), strict=False):
    labels = [value.replace(" to ", "\nto ") for value in values]
    # A line between words would mean nothing.
    line = "-" if all(_order(item)[0] == 0 for item in values.items()) else ""
    for color, (key, title) in enumerate(METRICS.items()):
      y = [record["evaluations"][-1][key] for record in values.values()]
      means = [statistics.mean(each) for each in y]
      look = {"color": f"C{color}", "linestyle": line, "label": title}
      axis.plot(labels, means, marker="_", markersize=20, **look)
      for label, each in zip(labels, y, strict=True):
        axis.plot([label] * len(each), each, ".", color=f"C{color}")
    axis.set(title=field)
    axis.tick_params("x", labelsize="small")
  for axis in axes[:, 0]:
    axis.set(ylabel="accuracy")
  axes.flat[0].legend(fontsize="small")
  figure.savefig(path, dpi=100)
  pyplot.close(figure)


if __name__ == "__main__":
  sys.exit(main())
