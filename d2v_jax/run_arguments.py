"""The flags that all commands of a run have, and changes of its config."""

import argparse
from collections.abc import Sequence

OVERRIDES = """\
Any field of the config, and any argument of what it builds, can be set:

  --config.total_steps=3000 --config.encoder.drop_path=0.1
"""


def parser(
  prog: str,
  description: str,
  epilog: str | None = OVERRIDES,
  needs_workdir: bool = True,
) -> argparse.ArgumentParser:
  """A parser to which a command adds what is its own.

  Args:
    prog: what is typed before the arguments.
    description: what the command does.
    epilog: what stands below the flags.
    needs_workdir: whether --workdir must be given.
  """
  made = argparse.ArgumentParser(
    prog=prog,
    description=description,
    epilog=epilog,
    formatter_class=argparse.RawDescriptionHelpFormatter,
    allow_abbrev=False,
  )
  made.add_argument(
    "--workdir",
    required=needs_workdir,
    metavar="DIR",
    help="where the run lives: a folder or gs://bucket/path",
  )
  hosts = made.add_argument_group(
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
  hosts.add_argument(
    "--peer_timeout",
    type=int,
    default=100,
    metavar="SECONDS",
    help="a process that has been silent for so long ends all, by default "
    "%(default)s s",
  )
  return made


def add_ownership(parser: argparse.ArgumentParser) -> None:
  """Adds the flags of commands that train, which own their workdir."""
  owner = parser.add_argument_group("one run in a workdir")
  owner.add_argument(
    "--lease",
    type=float,
    default=60.0,
    metavar="SECONDS",
    help="a run on another host that has given no sign of life for so long is "
    "dead, by default %(default)g s",
  )
  owner.add_argument(
    "--takeover",
    action="store_true",
    help="take the workdir from a run that lives; that one stops, and saves "
    "nothing more",
  )
  again = parser.add_argument_group("going on otherwise")
  again.add_argument(
    "--rewind",
    type=int,
    metavar="STEP",
    help="go back to a checkpoint that is kept, and on from there with changed "
    "fields of the config; what came after it is moved to rewound/",
  )
  again.add_argument(
    "--changed_data",
    action="store_true",
    help="go on although data were added, removed or exchanged",
  )
  again.add_argument(
    "--ignore_verdict",
    action="store_true",
    help="go on, unchanged, with a run that was stopped as sick",
  )


def parse(
  parser: argparse.ArgumentParser, argv: Sequence[str]
) -> tuple[argparse.Namespace, list[tuple[str, str]]]:
  """Reads a command line; leaves the process if it is none.

  Args:
    parser: what `parser` has made.
    argv: the arguments.

  Returns:
    The flags, and of each --config.PATH=TEXT the path and the text, in order.
  """
  parsed, overrides = parse_flags(parser, argv)
  _check_hosts(parser, parsed)
  return parsed, overrides


def parse_flags(
  parser: argparse.ArgumentParser, argv: Sequence[str]
) -> tuple[argparse.Namespace, list[tuple[str, str]]]:
  """As `parse`, with any parser."""
  flags, overrides = [], []
  rest = iter(argv)
  for argument in rest:
    if argument.startswith("--config."):
      path, equals, text = argument.removeprefix("--config.").partition("=")
      value = text if equals else next(rest, None)
      if value is None:
        parser.error(f"{argument} needs a value: {argument}=VALUE")
      overrides.append((path, value))
    else:
      flags.append(argument)
  return parser.parse_args(flags), overrides


def _check_hosts(parser, flags):
  hosts = (flags.coordinator, flags.num_processes, flags.process_id)
  if flags.distributed and hosts != (None, None, None):
    parser.error("--distributed finds the hosts; leave the other flags out")
  if None in hosts and hosts != (None, None, None):
    parser.error(
      "--coordinator, --num_processes and --process_id go together: give all "
      "three, or none"
    )
  if flags.peer_timeout < 1:
    parser.error(f"--peer_timeout must be 1 or more, got {flags.peer_timeout}")
  if flags.coordinator and not 0 <= flags.process_id < flags.num_processes:
    parser.error(
      f"--process_id={flags.process_id} must be 0 to --num_processes - 1 = "
      f"{flags.num_processes - 1}"
    )
