"""What is printed of a planned step: for people, and as JSON."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from d2v_jax.planning.devices import versions
from d2v_jax.planning.estimate import CALIBRATION
from d2v_jax.planning.fit import Way
from d2v_jax.planning.plan import Row


def as_json(name: str, row: Row, **more: Any) -> str:
  """One object on one line; null is what is not known."""
  return json.dumps(
    {
      "config": name,
      "device": row.target.name,
      "per_device": row.per_device,
      "length": row.length,
      "memory_bytes": round(row.memory_bytes),
      "argument_bytes": round(row.argument_bytes),
      "flops": _rounded(row.flops),
      "traffic_bytes": _rounded(row.traffic_bytes),
      "collective_bytes": _rounded(row.collective_bytes),
      "step_seconds": row.time and row.time.seconds,
      "peak_fraction": row.peak_fraction,
      "examples_per_second": row.examples_per_second,
      "work_seconds": row.time and row.time.work,
      "part_seconds": row.time and row.time.parts,
      "fits": row.fits,
      **more,
    }
  )


def as_text(name: str, row: Row, price: float | None = None) -> str:
  """A heading, and a line for each thing.

  Args:
    name: of the config.
    row: what is compiled.
    price: of a device and hour, in any currency.
  """
  width = 14
  lines = [_heading(name, row)]
  for label, value in _lines(row, price):
    lines.append(f"  {label:{width}}  {value}")
  return "\n".join(lines)


def about(row: Row) -> str:
  """What is measured, what is estimated, and by which compiler."""
  platform = row.target.platform
  compilers = ", ".join(f"{k} {v}" for k, v in versions(platform).items())
  return (
    f"Compiled by {compilers}. Memory, operations, bytes and collectives are "
    "read in the optimized program, of one device; a product of matrices that "
    "is repeated to save memory is counted apart. "
    f"{CALIBRATION[platform]}"
  )


def largest_text(name: str, best: Row | None, price: float | None) -> str:
  """The largest micro-batch, or that there is none."""
  if best is None:
    return "Not one example on each device fits."
  heading = "The largest micro-batch that fits, of 1, 2, 3, 4, 6, 8, 12, ...:"
  return f"{heading}\n{as_text(name, best, price)}"


def ways_text(ways: Sequence[Way], best: Way | None) -> str:
  """The settings that were tried, the cheapest one named."""
  lines = []
  for way in ways:
    mark = " <- the cheapest" if way is best and len(ways) > 1 else ""
    fits = "fits" if way.row.fits else "does not fit"
    time = f", {_seconds(way.row.time.seconds)}" if way.row.time else ""
    memory = f"{way.row.memory_bytes / 1e9:.2f} GB"
    lines.append(f"  {flags(way)}: {fits}, {memory}{time}{mark}")
  if best is None:
    lines.append("  None of them fits: take smaller batches or more devices.")
  return "\n".join(lines)


def flags(way: Way) -> str:
  """Settings as they stand on a command line."""
  if not way.settings:
    return "as it is"
  return " ".join(f"--config.{k}={v}" for k, v in way.settings.items())


def _heading(name: str, row: Row) -> str:
  run, target = row.run, row.target
  several = f" in {run.accumulate} micro-batches" if run.accumulate > 1 else ""
  sharding = run.config.get("sharding", "replicated")
  length = f" of length {row.length}" if row.length is not None else ""
  return (
    f"{name} on {target.name}: {len(target.devices)} x {target.kind}, "
    f"{row.per_device} examples{length} on each{several}, {run.batch_size} an "
    f"update, {sharding}"
  )


def _lines(row: Row, price: float | None) -> Iterator[tuple[str, str]]:
  yield "fits", _fits(row)
  parts = ", ".join(
    f"{name} {value / 1e9:.3f}" for name, value in row.parts.items()
  )
  yield "memory", f"{row.memory_bytes / 1e9:.2f} GB: {parts}"
  yield "arguments", f"{row.argument_bytes / 1e9:.3f} GB"
  yield from _work(row)
  yield from _time(row, price)
  yield from _demands(row)


def _fits(row: Row) -> str:
  if row.target.platform == "tpu":
    return "yes" if row.fits else "no; the compiler gives up, wanted see memory"
  limit = f"{(row.target.memory or 0) / 1e9:.1f} GB"
  if row.target.platform == "gpu":
    limit += ", what XLA_PYTHON_CLIENT_MEM_FRACTION (0.75) leaves"
  else:
    limit += ", this machine's share for a device"
  return f"{'yes' if row.fits else 'no'}, of {limit}"


def _work(row: Row) -> Iterator[tuple[str, str]]:
  if row.flops is None:
    return
  more = []
  if row.recomputed_flops:
    more.append(f"{row.recomputed_flops / 1e12:.3f} more to recompute")
  if row.kernel_flops:
    share = row.kernel_flops / 1e12
    more.append(f"of them {share:.3f} in kernels, by a formula")
  yield "operations", "; ".join([f"{row.flops / 1e12:.3f} TFLOP", *more])
  assert row.traffic_bytes is not None
  yield "traffic", f"{row.traffic_bytes / 1e9:.2f} GB"
  kinds = ", ".join(
    f"{kind} {size / 1e9:.3f}" for kind, size in (row.collectives or {}).items()
  )
  yield (
    "collectives",
    f"{(row.collective_bytes or 0) / 1e9:.3f} GB"
    + (f": {kinds}" * bool(kinds)),
  )


def _time(row: Row, price: float | None) -> Iterator[tuple[str, str]]:
  if row.time is None or row.peak_fraction is None:
    if row.flops is not None:
      yield "step", "not estimated"
    return
  time, run = row.time, row.run
  word = "at least" if row.target.platform == "gpu" else "about"
  detail = f"computing {_seconds(time.computing)}"
  if time.sending:
    detail += f", collectives {_seconds(time.sending)}"
  yield "step", f"{word} {_seconds(time.seconds)} ({detail})"
  work = dict(time.work)
  kernels = work.pop("kernels")
  if kernels:
    work["kernels (by a formula)"] = kernels
  yield "computing", _shares(work)
  yield "by part", _shares(time.parts)
  most = "at most " if row.target.platform == "gpu" else ""
  yield "peak", f"{most}{row.peak_fraction:.1%} of the matrix peak"
  yield "speed", f"{row.examples_per_second:,.0f} examples/s on all devices"
  hours = time.seconds * run.total_steps / 3600
  yield (
    "whole run",
    f"{hours:,.1f} h for {run.total_steps:,} updates of {run.batch_size:,}",
  )
  if price is not None:
    devices = len(row.target.devices)
    yield (
      "cost",
      f"{hours * devices * price:,.0f} at {price:g} a device and hour",
    )


def _demands(row: Row) -> Iterator[tuple[str, str]]:
  """What must keep up with the step."""
  checkpoint = row.checkpoint_bytes
  size = f"{checkpoint / 1e9:.2f} GB each, every {row.run.checkpoint_every:,}"
  if row.time is None:
    yield "input", f"{row.batch_bytes / 1e3:,.0f} kB an example"
    yield "checkpoints", f"{size} updates"
    return
  assert row.examples_per_second is not None
  speed, size_of_one = row.examples_per_second, row.batch_bytes
  yield (
    "input",
    f"{speed:,.0f} examples/s of {size_of_one / 1e3:,.0f} kB: "
    f"{speed * size_of_one / 1e6:,.1f} MB/s to all devices",
  )
  between = row.time.seconds * row.run.checkpoint_every
  yield (
    "checkpoints",
    f"{size} updates = {_seconds(between)}: {checkpoint / between / 1e6:,.1f} "
    "MB/s",
  )


def _shares(seconds: Mapping[str, float]) -> str:
  return ", ".join(f"{name} {_seconds(x)}" for name, x in seconds.items())


def _seconds(value: float) -> str:
  if value < 1:
    return f"{value * 1e3:.1f} ms"
  return f"{value:.1f} s" if value < 120 else f"{value / 60:.0f} min"


def _rounded(value: float | None) -> int | None:
  return None if value is None else round(value)
