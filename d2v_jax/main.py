"""Pretrains, fine-tunes, probes, or evaluates a finished run.

  python -m d2v_jax.main --config=configs/digits.py --workdir=runs/digits
  python -m d2v_jax.main --mode=evaluate --workdir=runs/digits
  python -m d2v_jax.main --config=configs/probe_digits.py \\
    --config.init_from=runs/digits --workdir=runs/digits_probe

The same as `d2v train`, `d2v evaluate` and `d2v probe`, in one command.
"""

import json
import os
import sys
import textwrap
from argparse import Namespace
from collections.abc import Sequence

from d2v_jax import exit_status, project_imports, run_arguments

_TRAIN = """\
Pretrains or fine-tunes, as a config says.

  d2v train digits --workdir=runs/digits
  d2v train configs/mine.py --workdir=runs/mine --config.init_from=runs/digits

The same command starts a run or continues it from its newest checkpoint.
"""
_EVALUATE = """\
Runs a run's evaluators on its newest checkpoint; the run stays as it is.

  d2v evaluate --workdir=runs/digits
  d2v evaluate configs/mine.py --workdir=runs/mine

Or measures what the head of a run or an import predicts for other data; nothing
of training is needed, and each recording is computed as if it were alone:

  d2v evaluate --run=runs/imported --data=images/test

The result is printed as JSON, and written to evaluation.json in the workdir.
"""
_PROBE = """\
Measures what the frozen network of a run, or of an import, knows.

  d2v probe probe_digits --run=runs/digits --workdir=runs/digits_probe

Configs of probes: probe_images, probe_audio, probe_text, probe_digits, and
probe_attentive, which trains a head. What they do not say is as in the run.
"""
_REST = f"""\
{run_arguments.OVERRIDES}
The workdir receives run.json (config, versions, commit), metrics.jsonl,
tensorboard/ (if tensorboardX is installed), checkpoints/, profile/ (with
--config.profile), report.html (at the end; see d2v report), and
corrupt_files.txt if there are any.

{exit_status.text()}

One run owns a workdir; owner.json names it, and a second one is refused. A run
that has died is recognised at once on its machine, on others after --lease.
With D2V_TRACEBACK=1 in the environment an error also shows where it came from.

What is compiled is kept in ~/.cache/d2v_jax/compiled, or in the folder that
JAX_COMPILATION_CACHE_DIR names; with JAX_ENABLE_COMPILATION_CACHE=false nothing
is.
"""
_CONFIG = "one of ours by name, or the path of a file"


def main(argv: Sequence[str] | None = None) -> int:
  """Runs `python -m d2v_jax.main`; returns the exit status."""
  assert __doc__ is not None
  parser = run_arguments.parser("python -m d2v_jax.main", __doc__, _REST)
  parser.add_argument(
    "--config",
    metavar="FILE",
    help="config file, e.g. configs/vit_base.py; with --mode=evaluate the "
    "default is the run's own config",
  )
  parser.add_argument("--mode", choices=("train", "evaluate"), default="train")
  run_arguments.add_ownership(parser)
  flags, overrides = run_arguments.parse(
    parser, sys.argv[1:] if argv is None else argv
  )
  if flags.mode == "train" and flags.config is None:
    parser.error("--mode=train needs --config, e.g. configs/digits.py")
  return _run(flags.mode, flags, overrides)


def train(argv: Sequence[str]) -> int:
  """Runs `d2v train`; returns the exit status."""
  ours = ", ".join(sorted(p.stem for p in project_imports.CONFIGS.glob("*.py")))
  ours = textwrap.fill(f"Configs that come along: {ours}.", 80)
  parser = run_arguments.parser("d2v train", _TRAIN, f"{_REST}\n{ours}\n")
  parser.add_argument("config", metavar="NAME_OR_FILE", help=_CONFIG)
  run_arguments.add_ownership(parser)
  return _run("train", *run_arguments.parse(parser, argv))


def evaluate(argv: Sequence[str]) -> int:
  """Runs `d2v evaluate`; returns the exit status."""
  parser = run_arguments.parser("d2v evaluate", _EVALUATE, needs_workdir=False)
  parser.add_argument(
    "config",
    metavar="NAME_OR_FILE",
    nargs="?",
    help=f"{_CONFIG}; by default the run's own",
  )
  parser.add_argument(
    "--run", metavar="RUN", help="workdir of a run or an import"
  )
  files = parser.add_argument_group("test data in place of a config's")
  add = files.add_argument
  add(
    "--data",
    metavar="PATH",
    help="a folder with class folders, or a table (.csv, .tsv, .jsonl, "
    ".parquet) with a column `path`, or `text` for text",
  )
  add("--split", help="of a table, the rows with this `split`")
  add(
    "--label",
    metavar="COLUMN",
    help="of a table; default: `label`, or for transcripts `text`",
  )
  add(
    "--label_separator",
    metavar="TEXT",
    help="what parts the classes of a row that has several, such as ','",
  )
  add("--column", metavar="A[,B]", help="of text, or of the two of a pair")
  flags, overrides = run_arguments.parse(parser, argv)
  flags.run = flags.run or flags.workdir
  flags.workdir = flags.workdir or flags.run
  if flags.run is None:
    parser.error(
      "the following arguments are required: --workdir, or --run, of a run or "
      "of an import"
    )
  _check_files(parser, flags)
  return _run("evaluate", flags, overrides)


def probe(argv: Sequence[str]) -> int:
  """Runs `d2v probe`; returns the exit status."""
  parser = run_arguments.parser("d2v probe", _PROBE)
  parser.add_argument("config", metavar="NAME_OR_FILE", help=_CONFIG)
  parser.add_argument(
    "--run", required=True, metavar="RUN", help="workdir of a run or an import"
  )
  run_arguments.add_ownership(parser)
  flags, overrides = run_arguments.parse(parser, argv)
  return _run("probe", flags, [("init_from", flags.run), *overrides])


def _check_files(parser, flags):
  if flags.data is None:
    for name in ("split", "label", "label_separator", "column"):
      if getattr(flags, name):
        parser.error(f"--{name} is of --data, which is not given")
  elif flags.config:
    parser.error("--data stands in place of a config; leave that out")


def _run(
  action: str, flags: Namespace, overrides: Sequence[tuple[str, str]]
) -> int:
  """Does it, and tells what went wrong; returns the exit status."""
  # Only now: --help and wrong flags need no JAX.
  import jax

  from d2v_jax import compilation_cache, failures
  from d2v_jax.training import quiet
  from d2v_jax.training.trouble import peers

  compilation_cache.enable()
  with quiet.orbax():
    try:
      if flags.distributed or flags.coordinator:
        peers.end_with(
          exit_status.INFRASTRUCTURE, failures.of_a_peer(flags.workdir)
        )
        jax.distributed.initialize(
          flags.coordinator,
          flags.num_processes,
          flags.process_id,
          heartbeat_timeout_seconds=flags.peer_timeout,
        )
      return _act(action, flags, overrides)
    except (Exception, KeyboardInterrupt) as e:
      status = failures.report(e, flags.workdir)
  if status == exit_status.INFRASTRUCTURE and jax.distributed.is_initialized():
    # JAX would wait for the others, of which one may be gone.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
  return status


def _show(results):
  import jax

  if jax.process_index() == 0:
    print(json.dumps(results))
  return exit_status.FINISHED


def _act(action, flags, overrides):
  from d2v_jax import actions, config_file, head_scores
  from d2v_jax.probe import is_probe
  from d2v_jax.training.start import Start

  if getattr(flags, "data", None):
    columns = tuple(flags.column.split(",")) if flags.column else ()
    config = head_scores.files_config(
      flags.run,
      flags.data,
      split=flags.split,
      label=flags.label,
      label_separator=flags.label_separator,
      columns=columns,
    )
    for path, value in overrides:
      config_file.override(config, path, value)
    workdir = actions.writable(flags.workdir)
    step, results = head_scores.run(config, flags.run, workdir)
    return _show({"step": step, **results})
  if action == "evaluate":
    config = actions.to_evaluate(flags.workdir, flags.config)
  else:
    config = config_file.load(flags.config)
  for path, value in overrides:
    config_file.override(config, path, value)
  if action == "probe":
    actions.check_frozen(config, flags.config)
  if action == "evaluate" or is_probe(config):
    return _show(actions.measure(config, flags.workdir))
  start = Start(
    lease_seconds=flags.lease,
    takeover=flags.takeover,
    rewind=flags.rewind,
    changed_data=flags.changed_data,
    ignore_verdict=flags.ignore_verdict,
  )
  actions.train(config, flags.workdir, start=start)
  return exit_status.FINISHED


if __name__ == "__main__":
  sys.exit(main())
