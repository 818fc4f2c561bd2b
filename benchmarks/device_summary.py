"""One JSON file of what benchmarks/device.sh has measured.

  python -m benchmarks.device_summary OUT

Reads parts.tsv, train_step_*.json and plan_*.log in the folder OUT, and writes
device.json.
The exit status is 1 if a part has failed.
"""

import json
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

from d2v_jax.training.logs import device_peaks


def summary(folder: pathlib.Path) -> dict[str, Any]:
  """What was measured on which device, and what could not be.

  Args:
    folder: with parts.tsv, whose lines are name, exit status and seconds, the
      results of train_step, and what `d2v plan --json` has printed.

  Returns:
    `machine` as train_step describes it; `parts`, name -> status and seconds;
    `steps`, model -> name of a step -> its numbers; `plans`, model -> what was
    estimated of our step, and how the measured one compares with it. Seconds
    are medians by the clock; operations are those that are counted in our step
    as it is traced, of PyTorch's too; a fraction is of the maker's peak, None
    where that is not known; bytes are the compiler's of ours, the allocator's
    of PyTorch's.
  """
  parts = {}
  for line in (folder / "parts.tsv").read_text().splitlines():
    name, status, seconds = line.split("\t")
    parts[name] = {"status": int(status), "seconds": int(seconds)}
  found: dict[str, Any] = {"machine": None, "parts": parts, "steps": {}}
  for path in sorted(folder.glob("train_step_*.json")):
    record = json.loads(path.read_text())
    found["machine"] = record["machine"]
    model = path.stem.removeprefix("train_step_")
    found["steps"][model] = _steps(record)
  found["plans"] = {
    model: _compared(plan, steps["ours"])
    for model, steps in found["steps"].items()
    if (plan := _plan(folder / f"plan_{model}.log")) is not None
  }
  return found


def _plan(path):
  """The row that `d2v plan --json` has printed, among other lines."""
  lines = path.read_text().splitlines() if path.exists() else []
  rows = [json.loads(line) for line in lines if line.startswith("{")]
  return rows[0] if rows else None


def _compared(plan, ours):
  ratios = {
    f"measured_over_planned_{what}": ours[name] / plan[planned]
    for what, name, planned in (
      ("seconds", "step_seconds", "step_seconds"),
      ("memory", "memory_bytes", "memory_bytes"),
    )
    if ours[name] and plan[planned]
  }
  return {"planned": plan, **ratios}


def _steps(record):
  kind = record["machine"]["devices"].partition(" x ")[2]
  peaks = device_peaks.peaks(kind)
  return {
    name: _step(
      seconds,
      record["work"][name],
      record["peak_bytes"].get(name),
      peaks.flops if peaks else None,
    )
    for name, seconds in record["wall"].items()
  }


def _step(seconds, work, memory, peak):
  rate = work["operations"] / seconds["median"]
  return {
    "step_seconds": seconds["median"],
    "smallest": seconds["min"],
    "largest": seconds["max"],
    "ours_over_it": seconds["ratio_of_medians"],
    "examples_per_second": work["examples"] / seconds["median"],
    "operations_per_second": rate,
    "peak_fraction": rate / peak if peak else None,
    "memory_bytes": memory,
  }


def report(found: dict[str, Any]) -> None:
  """Prints a table of the steps, and which parts have failed."""
  if found["machine"]:
    print(found["machine"]["devices"])
  for model, steps in found["steps"].items():
    for name, step in steps.items():
      fraction, memory = step["peak_fraction"], step["memory_bytes"]
      print(
        f"{model + ', ' + name:40}{step['step_seconds'] * 1e3:9.1f} ms", end=""
      )
      print(f"{step['examples_per_second']:9.1f} examples/s", end="")
      print("" if fraction is None else f"{fraction:8.1%} of peak", end="")
      print("" if memory is None else f"{memory / 1e9:8.1f} GB", end="")
      print(f"   ours / it {step['ours_over_it']:.2f}")
  for model, plan in found["plans"].items():
    for name in sorted(plan.keys() - {"planned"}):
      print(f"{model}: {name.replace('_', ' ')} {plan[name]:.2f}")
  for name, part in found["parts"].items():
    if part["status"]:
      print(f"{name} failed with status {part['status']}: see {name}.log")


def main(argv: Sequence[str] | None = None) -> int:
  """Writes and prints the summary; returns the exit status."""
  (folder,) = map(pathlib.Path, sys.argv[1:] if argv is None else argv)
  found = summary(folder)
  (folder / "device.json").write_text(json.dumps(found, indent=2) + "\n")
  report(found)
  return int(any(part["status"] for part in found["parts"].values()))


if __name__ == "__main__":
  sys.exit(main())
