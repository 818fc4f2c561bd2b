"""The exit statuses of a run, from which a scheduler knows what to do."""

import signal

FINISHED = 0
WRONG_INPUT = 2
SICK = 3
IN_USE = 4
INFRASTRUCTURE = 75  # EX_TEMPFAIL of sysexits.h

# Status, what has happened, what to do.
TABLE = (
  ("0", "finished", "nothing"),
  (
    "1",
    "an error of this software",
    "report it, with what was printed",
  ),
  (
    "2",
    "a wrong command line, config, data or workdir",
    "change what the message names; never retry",
  ),
  ("3", "the run collapsed or diverged", "look at it; never retry"),
  (
    "4",
    "the workdir belongs to another run that lives",
    "leave that one alone; never retry",
  ),
  (
    "75",
    "a disk, the network, a worker or another process of the run has failed, "
    "or nothing has moved for long",
    "retry",
  ),
  (
    "143 or 130",
    "stopped by SIGTERM or SIGINT (Ctrl-C), with what there was saved",
    "retry",
  ),
)


def interrupted(signum: int) -> int:
  """Of a run that a signal has stopped."""
  return 128 + signal.Signals(signum).value


def text() -> str:
  """The table, for --help."""
  lines = [f"  {status:12}{what}: {todo}" for status, what, todo in TABLE]
  return "Exit status:\n" + "\n".join(lines)
