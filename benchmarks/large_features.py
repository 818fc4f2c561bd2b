"""Measures kNN and the linear probe on many features, part by part.

  python -m benchmarks.large_features --rows 64000 --test 2500 --steps 10

Features are made up: classes with normal noise around their centres. Each part
takes turns with the others at a quarter, half and all of the rows, and at a
quarter of the classes. Writes benchmarks/results/large_features_<device>.json
with the seconds and the most memory that the process held.
"""

import argparse
import functools
import json
import pathlib
import resource
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from benchmarks import timing
from benchmarks.timing import Job
from d2v_jax.evaluators.knn import knn_predict
from d2v_jax.evaluators.linear_classifiers import moments, score, train
from d2v_jax.evaluators.linear_probe import LinearProbe
from d2v_jax.training.sharding import make_mesh

PROBE = LinearProbe()
CANDIDATES = [(r, d) for r in PROBE.learning_rates for d in PROBE.weight_decays]


def make_split(
  rows: int, width: int, classes: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
  """Features float32 [rows, width] and labels int32 [rows]."""
  centres = np.random.default_rng(0).normal(size=(classes, width))
  rng = np.random.default_rng(seed)
  y = rng.integers(0, classes, rows).astype(np.int32)
  x = rng.standard_normal((rows, width), np.float32)
  for start in range(0, rows, 2**14):
    some = slice(start, start + 2**14)
    x[some] = 4 * x[some] + centres[y[some]]
  return x, y


def make_jobs(
  rows: int, classes: int, args: argparse.Namespace
) -> dict[str, Job]:
  """What kNN and the linear probe do with a training split of `rows`."""
  mesh = make_mesh(args.devices)
  x, y = make_split(rows, args.width, classes, 1)
  test_x, _ = make_split(args.test, args.width, classes, 2)
  order = np.random.default_rng(0).integers(
    0, rows, (args.steps, PROBE.batch_size)
  )
  standard = moments(x)
  rates, decays = np.array(CANDIDATES, np.float32).T
  fit = functools.partial(train, classes=classes, mesh=mesh)
  candidates = fit(x, y, order, standard, rates, decays)
  chosen = fit(x, y, order, standard, rates[:1], decays[:1])
  held_out = np.arange(round(PROBE.holdout * rows))
  calls: dict[str, Callable[[], Any]] = {
    "kNN": lambda: knn_predict(x, y, test_x, 20, 0.07, mesh),
    "moments": lambda: moments(x),
    "candidates, steps": lambda: fit(x, y, order, standard, rates, decays),
    "candidates, held out": lambda: score(candidates, x, y, held_out, mesh),
    "chosen, steps": lambda: fit(x, y, order, standard, rates[:1], decays[:1]),
    "chosen, all rows": lambda: score(chosen, x, y, mesh=mesh),
  }
  return {name: Job(call, lambda: None) for name, call in calls.items()}


def measure(args: argparse.Namespace) -> dict[str, Any]:
  """Times all; returns what is written."""
  record: dict[str, Any] = {
    "machine": timing.machine(False),
    "settings": {**vars(args), "out": None, "candidates": len(CANDIDATES)},
    "seconds": {},
  }
  cases = [(args.rows // n, args.classes) for n in (4, 2, 1)]
  for rows, classes in [*cases, (args.rows, args.classes // 4)]:
    jobs = make_jobs(rows, classes, args)
    wall, cpu = timing.alternate(jobs, args.repeats, 1)
    record["seconds"][f"{rows} rows, {classes} classes"] = {
      name: {
        "wall": {**timing.spread(wall[name]), "rounds": wall[name]},
        "cpu": {**timing.spread(cpu[name]), "rounds": cpu[name]},
      }
      for name in jobs
    }
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  record["peak_memory_bytes"] = 1024 * peak
  return record


def main() -> None:
  """Runs everything and writes the result."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--rows", type=int, default=64_000, help="to train on")
  parser.add_argument("--test", type=int, default=2500, help="rows of kNN")
  parser.add_argument("--width", type=int, default=768)
  parser.add_argument("--classes", type=int, default=1000)
  parser.add_argument("--steps", type=int, default=10, help="of the probe")
  parser.add_argument("--devices", type=int, help="default all")
  parser.add_argument("--repeats", type=int, default=3, help="rounds")
  parser.add_argument("--out", type=pathlib.Path, help="JSON file to write")
  args = parser.parse_args()
  record = measure(args)
  print(f"{'s, median (of the processor)':32}")
  for case, jobs in record["seconds"].items():
    print(case)
    for name, clocks in jobs.items():
      wall, cpu = (clocks[clock]["median"] for clock in ("wall", "cpu"))
      print(f"  {name:30}{wall:10.3f} ({cpu:.3f})")
  kind = jax.devices()[0].device_kind.replace(" ", "_")
  out = args.out or pathlib.Path(
    f"benchmarks/results/large_features_{kind}.json"
  )
  out.parent.mkdir(parents=True, exist_ok=True)
  out.write_text(json.dumps(record, indent=2) + "\n")
  print(f"wrote {out}")


if __name__ == "__main__":
  main()
