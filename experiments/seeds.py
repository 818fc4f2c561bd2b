"""Runs that differ in their seeds, put together."""

import pathlib
import statistics
from typing import Any

from experiments.report import cpu, read

Record = dict[str, Any]


def collect(root: pathlib.Path) -> dict[str, Record]:
  """What the runs below a folder have measured.

  Args:
    root: holds workdirs of finished runs, called NAME-SEED.

  Returns:
    NAME -> `config` without the seed, `commits`, `seeds`, versions and
    hardware, and `evaluations`: a list over evaluated steps of {"step": int,
    metric: [its value for each seed]}.

  Raises:
    ValueError: there is none, one has not finished, or those of a name differ
      in more than the seed.
  """
  groups = {}
  for folder in sorted(root.iterdir() if root.is_dir() else ()):
    name, dash, seed = folder.name.rpartition("-")
    if not (dash and seed.isdecimal() and folder.is_dir()):
      continue
    run, lines = read(folder)
    _add(groups.setdefault(name, {}), int(seed), run, lines, folder)
  if not groups:
    raise ValueError(
      f"{root} has no folders called NAME-SEED, such as data2vec-0; check the "
      "first argument."
    )
  return groups


def _add(record, seed, run, lines, folder):
  config = {k: v for k, v in run["config"].items() if k != "seed"}
  start = run["starts"][-1]
  evaluated = [line for line in lines if any("/" in k for k in line)]
  values = [{k: [v] for k, v in line.items() if "/" in k} for line in evaluated]
  steps = [line["step"] for line in evaluated]
  if not record:
    facts = ("python", "versions", "devices")
    record |= {"config": config, "commits": [], "seeds": []}
    record |= {k: start[k] for k in facts} | {"host": cpu()}
    record["evaluations"] = [
      {"step": step, **{key: [] for key in line}}
      for step, line in zip(steps, values, strict=True)
    ]
  if config != record["config"] or run["config"]["seed"] != seed:
    raise ValueError(
      f"{folder}: its config is not that of the other seeds, or its seed is "
      f"{run['config']['seed']}; repeat it in another folder."
    )
  record["seeds"].append(seed)
  record["commits"] = sorted({*record["commits"], start["commit"]})
  for line, new in zip(record["evaluations"], values, strict=True):
    line |= {k: line[k] + v for k, v in new.items()}


def summary(values: list[float]) -> str:
  """Mean and, of several, the standard deviation: '0.431 ± 0.004'."""
  mean = f"{statistics.mean(values):.3f}"
  if len(values) == 1:
    return mean
  return f"{mean} ± {statistics.stdev(values):.3f}"
