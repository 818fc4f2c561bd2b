"""Draws layer curves and low-shot curves of finished probes.

  python -m experiments.probing.report experiments/probing/cifar10_20k \\
    data2vec=runs/probe untrained=runs/probe_untrained

Writes result.json and curves.png to the first argument. Each probe is the
workdir of a config with the evaluators layer_curve and low_shot.
"""

import argparse
import json
import pathlib
import sys
from typing import Any

from experiments.report import cpu

Record = dict[str, Any]


def main(argv: list[str] | None = None) -> int:
  """Runs the command line; returns the exit status."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("outdir", type=pathlib.Path)
  parser.add_argument("probes", nargs="+", metavar="NAME=WORKDIR")
  args = parser.parse_args(argv)
  try:
    records = {}
    for text in args.probes:
      name, equals, workdir = text.partition("=")
      if not (name and equals):
        raise ValueError(f"{text!r} is not NAME=WORKDIR.")
      records[name] = read(pathlib.Path(workdir))
  except ValueError as e:
    print(f"error: {e}", file=sys.stderr)
    return 2
  args.outdir.mkdir(parents=True, exist_ok=True)
  path = args.outdir / "result.json"
  path.write_text(json.dumps(records, indent=2) + "\n")
  plot(records, args.outdir / "curves.png")
  return 0


def read(workdir: pathlib.Path) -> Record:
  """What a probe measured, and with what.

  Raises:
    ValueError: the folder is not that of a finished probe.
  """
  try:
    run = json.loads((workdir / "run.json").read_text())
    results = json.loads((workdir / "evaluation.json").read_text())
  except FileNotFoundError as e:
    raise ValueError(
      f"{e.filename} is missing, so {workdir} is not the workdir of a finished "
      "probe; run one with a config such as configs/probe_images.py."
    ) from e
  start = run["starts"][-1]
  facts = ("command", "commit", "python", "versions", "devices")
  return {
    "config": run["config"],
    **{name: start[name] for name in facts},
    "host": cpu(),
    "results": results,
  }


def curves(results: dict[str, float], prefix: str) -> list[tuple]:
  """(label, value, low, high) of the metrics with a prefix, in order.

  `low` and `high` are the interval's ends, or the value where there is none.
  """
  found = []
  for name, value in results.items():
    if not name.startswith(prefix) or name.endswith(("_low", "_high")):
      continue
    low = results.get(f"{name}_low", value)
    high = results.get(f"{name}_high", value)
    found.append((name.removeprefix(prefix), value, low, high))
  return found


def plot(records: dict[str, Record], path: pathlib.Path) -> None:
  """Draws accuracy over layers, and over labels per class or their share.

  Args:
    records: name of the network -> what `read` gave.
    path: of the image, *.png.
  """
  import matplotlib

  matplotlib.use("Agg")
  from matplotlib import pyplot

  figure, axes = pyplot.subplots(
    1, 2, figsize=(9, 3.8), layout="constrained", sharey=True
  )
  for name, record in records.items():
    results = record["results"]
    layers = curves(results, "layer_curve/layer_")
    layers += curves(results, "layer_curve/final")
    shots = curves(results, "low_shot/shots_")
    shots += curves(results, "low_shot/share_")
    for axis, points in zip(axes, (layers, shots), strict=True):
      labels = [label or "final" for label, *_ in points]
      values = [value for _, value, *_ in points]
      line = axis.plot(labels, values, marker="o", label=name)[0]
      axis.fill_between(
        labels,
        [low for *_, low, _ in points],
        [high for *_, high in points],
        color=line.get_color(),
        alpha=0.2,
      )
  axes[0].set(title="linear probe", xlabel="layer", ylabel="accuracy")
  axes[1].set(title="few labels", xlabel="labels per class, then share of all")
  axes[0].legend(fontsize="small")
  figure.savefig(path, dpi=100)
  pyplot.close(figure)


if __name__ == "__main__":
  sys.exit(main())
