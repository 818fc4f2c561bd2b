"""Pretrains, fine-tunes, probes, or evaluates a finished run.

  python -m d2v_jax.main --config=configs/digits.py --workdir=runs/digits
  python -m d2v_jax.main --mode=evaluate --workdir=runs/digits
  python -m d2v_jax.main --config=configs/probe_digits.py \\
    --config.init_from=runs/digits --workdir=runs/digits_probe

The same command starts a run or continues it from its newest checkpoint.
Any field of the config, and any argument of what it builds, can be set:

  --config.total_steps=3000 --config.encoder.drop_path=0.1

The workdir receives run.json (config, versions, commit), metrics.jsonl,
tensorboard/ (if tensorboardX is installed), checkpoints/, and
corrupt_files.txt if there are any.

Exit status: 0 finished; 2 a wrong command line, config, data or workdir; 3 the
run collapsed or diverged; 143 or 130 stopped by SIGTERM or SIGINT (Ctrl-C) with
everything saved: run the same command to go on. With D2V_TRACEBACK=1 in the
environment an error also shows where it came from.
"""

import argparse
import json
import os
import sys
from typing import Any

EXIT_BAD_INPUT = 2
EXIT_UNHEALTHY = 3


def main(argv: list[str] | None = None) -> int:
  """Runs the command line; returns the exit status."""
  flags, overrides = _parse(sys.argv[1:] if argv is None else argv)
  # Only now: --help and wrong flags need no JAX.
  import jax
  from etils import epath

  from d2v_jax.training import health

  try:
    workdir = epath.Path(flags.workdir)
    if flags.distributed or flags.coordinator:
      jax.distributed.initialize(
        flags.coordinator, flags.num_processes, flags.process_id
      )
    config = _config(flags, overrides, workdir)
    # Writing is tried before anything is read or compiled.
    _make_writable(workdir)
    return _run(flags.mode, config, workdir)
  except health.UnhealthyRun as e:
    print(
      f"stopped: {e}\nThe last good checkpoint is kept in "
      f"{workdir / 'checkpoints'}.",
      file=sys.stderr,
    )
    return EXIT_UNHEALTHY
  except KeyboardInterrupt:
    print(
      "SIGINT: stopped at once; run the same command to go on from the last "
      "checkpoint.",
      file=sys.stderr,
    )
    return 130
  except ValueError as e:
    if os.environ.get("D2V_TRACEBACK"):
      raise
    print(f"error: {e}", file=sys.stderr)
    return EXIT_BAD_INPUT


def _run(mode: str, config: Any, workdir: Any) -> int:
  from d2v_jax import probe
  from d2v_jax.training import build, loop

  if probe.is_probe(config):
    _report(*probe.run(config, workdir))
    return 0
  run = build.from_config(config, workdir)
  if mode == "evaluate":
    _report(*loop.evaluate(run, workdir))
    return 0
  try:
    loop.train(run, workdir)
  except loop.Interrupted as e:
    print(f"{e}; run the same command to go on.", file=sys.stderr)
    return 128 + e.signum
  return 0


def _report(step, results):
  import jax

  if jax.process_index() == 0:
    print(json.dumps({"step": step, **results}))


def _parse(argv):
  parser = argparse.ArgumentParser(
    prog="python -m d2v_jax.main",
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
    allow_abbrev=False,
  )
  parser.add_argument(
    "--config",
    metavar="FILE",
    help="config file, e.g. configs/vit_base.py; with --mode=evaluate the "
    "default is the run's own config",
  )
  parser.add_argument(
    "--workdir",
    required=True,
    metavar="DIR",
    help="where the run lives: a folder or gs://bucket/path",
  )
  parser.add_argument("--mode", choices=("train", "evaluate"), default="train")
  hosts = parser.add_argument_group(
    "several hosts", "run the same command on each"
  )
  hosts.add_argument(
    "--distributed",
    action="store_true",
    help="find the other hosts by themselves (Cloud TPU, Slurm)",
  )
  hosts.add_argument(
    "--coordinator", metavar="HOST:PORT", help="address of process 0"
  )
  hosts.add_argument("--num_processes", type=int, metavar="N")
  hosts.add_argument("--process_id", type=int, metavar="I")
  own, overrides = [], []
  argv = iter(argv)
  for arg in argv:
    if arg.startswith("--config."):
      path, equals, value = arg.removeprefix("--config.").partition("=")
      if not equals:
        value = next(argv, None)
      if value is None:
        parser.error(f"{arg} needs a value: {arg}=VALUE")
      overrides.append((path, value))
    else:
      own.append(arg)
  flags = parser.parse_args(own)
  if flags.mode == "train" and flags.config is None:
    parser.error("--mode=train needs --config, e.g. configs/digits.py")
  hosts = (flags.coordinator, flags.num_processes, flags.process_id)
  if flags.distributed and hosts != (None, None, None):
    parser.error("--distributed finds the hosts; leave the other flags out")
  if None in hosts and hosts != (None, None, None):
    parser.error(
      "--coordinator, --num_processes and --process_id go together: give all "
      "three, or none"
    )
  if flags.coordinator and not 0 <= flags.process_id < flags.num_processes:
    parser.error(
      f"--process_id={flags.process_id} must be 0 to --num_processes - 1 = "
      f"{flags.num_processes - 1}"
    )
  return flags, overrides


def _config(flags, overrides, workdir):
  import ml_collections

  from d2v_jax import config_file
  from d2v_jax.training import provenance

  if flags.config is not None:
    config = config_file.load(flags.config)
    if flags.mode == "evaluate" and (workdir / "run.json").exists():
      # The network is the one that lies there.
      config.init_from = str(workdir)
  else:
    config = ml_collections.ConfigDict(provenance.read(workdir)["config"])
  for path, value in overrides:
    config_file.override(config, path, value)
  return config


def _make_writable(workdir):
  try:
    workdir.mkdir(parents=True, exist_ok=True)
    probe = workdir / f".writable-{os.getpid()}"
    probe.write_text("")
    probe.unlink(missing_ok=True)
  except OSError as e:
    raise ValueError(
      f"cannot write to --workdir={workdir}: {e}; choose another folder."
    ) from e
  except ImportError as e:
    raise ValueError(
      f"cannot write to --workdir={workdir}: {e}; pip install gcsfs, or "
      "install d2v_jax with the extra `gcs`."
    ) from e


if __name__ == "__main__":
  sys.exit(main())
