"""Says what a run needs and how fast it is, before a machine is rented.

  d2v plan vit_base --device=v5e:2x2 --per_device=32
  d2v plan text_base --device=h100:8 --config.accumulate=2 --price=2.5
  d2v plan configs/mine.py --device=v5e:4x4 --fit

The training step of the config is compiled for devices that need not be there,
and the program is read: memory, operations, bytes moved, collectives. No data
are read, but where sizes are derived from them. docs/plan.md says what is exact
and what is an estimate.

Devices: a TPU by its topology, in chips along each axis (v4:2x2x1, v5e:2x2,
v5p:2x2x1, v6e:4x4, tpu7x:2x2x1, ...; install the extra plan-tpu); h100:N (the
extra plan-gpu); cpu or cpu:N.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

from d2v_jax import bad_input, run_arguments

_STATUS = """
Exit status: 0 done, whether it fits or not; 2 a wrong command line, config or
device. With D2V_TRACEBACK=1 in the environment an error also shows where it
came from.
"""


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns its exit status."""
  flags, overrides = run_arguments.parse_flags(_parser(), argv)
  # Programs are compiled here, and run elsewhere.
  os.environ["JAX_PLATFORMS"] = "cpu"
  # Compilers warn of what the report says.
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
  try:
    _run(flags, overrides)
  except KeyboardInterrupt:
    return 130
  except ValueError as e:
    return bad_input.report(e)
  return 0


def _parser() -> argparse.ArgumentParser:
  parser = argparse.ArgumentParser(
    prog="d2v plan",
    description=__doc__,
    epilog=run_arguments.OVERRIDES + _STATUS,
    formatter_class=argparse.RawDescriptionHelpFormatter,
    allow_abbrev=False,
  )
  parser.add_argument(
    "config",
    metavar="NAME_OR_FILE",
    help="one of ours by name, or the path of a file",
  )
  parser.add_argument(
    "--device", required=True, metavar="DEVICE", help="e.g. v5e:2x2 or h100:8"
  )
  parser.add_argument(
    "--per_device",
    type=_positive,
    metavar="N",
    help="examples of an update on each device; by default the share of "
    "config.batch_size",
  )
  parser.add_argument(
    "--length",
    type=_positive,
    metavar="N",
    help="only batches of this length, one of config.data.buckets; by default "
    "all, a row each",
  )
  parser.add_argument(
    "--fit",
    action="store_true",
    help="find the largest micro-batch that fits, and the cheapest settings "
    "that make the batch fit; of the longest batches",
  )
  parser.add_argument(
    "--price", type=float, metavar="X", help="of a device and hour"
  )
  parser.add_argument(
    "--json", action="store_true", help="one JSON object a row"
  )
  return parser


def _positive(text: str) -> int:
  if not text.isdecimal() or int(text) < 1:
    raise argparse.ArgumentTypeError(f"must be 1 or more, got {text!r}")
  return int(text)


def _run(
  flags: argparse.Namespace, overrides: Sequence[tuple[str, str]]
) -> None:
  from d2v_jax import config_file, probe
  from d2v_jax.deriving import derive
  from d2v_jax.planning import devices

  config = config_file.load(flags.config)
  for path, value in overrides:
    config_file.override(config, path, value)
  if probe.is_probe(config):
    raise ValueError(
      f"{flags.config} trains nothing: there is no step to plan."
    )
  target = devices.find(flags.device)
  with derive.from_data(config) as known:
    _plan(flags, known, target)


def _plan(flags: argparse.Namespace, config: Any, target: Any) -> None:
  from d2v_jax.planning import plan, report

  run = plan.run_plan(config, target, flags.per_device)
  lengths = _lengths(plan.lengths(run), flags.length)
  if flags.fit:
    _fit(flags, config, target, lengths[-1])
    return
  for length in lengths:
    row = plan.compiled(run, target, length)
    if flags.json:
      print(report.as_json(flags.config, row), flush=True)
    _say(flags, report.as_text(flags.config, row, flags.price))
  _say(flags, report.about(row))


def _lengths(
  all_lengths: tuple[int | None, ...], wanted: int | None
) -> tuple[int | None, ...]:
  if wanted is None:
    return all_lengths
  if wanted not in all_lengths:
    known = ", ".join(str(x) for x in all_lengths if x is not None)
    raise ValueError(
      f"--length={wanted}: the batches have "
      f"{f'the lengths {known}' if known else 'one shape, leave it out'}."
    )
  return (wanted,)


def _fit(
  flags: argparse.Namespace, config: Any, target: Any, length: int | None
) -> None:
  from d2v_jax import config_file
  from d2v_jax.planning import fit, plan, report

  def row_of(per_device: int | None, settings: fit.Settings) -> plan.Row:
    changed = config.copy_and_resolve_references()
    for path, value in settings.items():
      config_file.override(changed, path, str(value))
    words = [f"--config.{k}={v}" for k, v in settings.items()]
    asked = " ".join([f"{per_device} on each device", *words])
    print(f"compiling {asked} ...", file=sys.stderr)
    run = plan.run_plan(changed, target, per_device)
    return plan.compiled(run, target, length)

  count = len(target.devices)
  wanted = flags.per_device or config.batch_size // count
  best = fit.largest(lambda size: row_of(size, {"accumulate": 1}), wanted)
  _say(flags, report.largest_text(flags.config, best, flags.price))
  if flags.json and best is not None:
    print(report.as_json(flags.config, best, settings={"accumulate": 1}))
  _say(flags, f"{wanted} examples of an update on each device:")
  ways = []
  micro_batch = best.per_device if best is not None else 0
  for settings in fit.candidates(config, wanted, micro_batch, count):
    way = fit.Way(settings, row_of(wanted, settings))
    ways.append(way)
    if flags.json:
      print(report.as_json(flags.config, way.row, settings=settings))
    if not settings and way.row.fits:
      break  # nothing need be changed
  _say(flags, report.ways_text(ways, fit.cheapest(ways)))
  _say(flags, report.about(ways[0].row))


def _say(flags: argparse.Namespace, text: str) -> None:
  if not flags.json:
    print(text, flush=True)
