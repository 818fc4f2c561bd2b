"""How a command ends whose command line, config or data are wrong."""

import os
import sys
from collections.abc import Callable
from typing import Any

from d2v_jax import exit_status

EXIT_STATUS = exit_status.WRONG_INPUT


def report(error: Exception, text: str | None = None) -> int:
  """Says on stderr what is wrong; raises it with D2V_TRACEBACK=1.

  Args:
    error: which says what was got, what is allowed and what to change.
    text: what is said of it; by default what it says itself.

  Returns:
    The exit status of the command.
  """
  if shows_tracebacks():
    raise error
  print(f"error: {error if text is None else text}", file=sys.stderr)
  return EXIT_STATUS


def shows_tracebacks() -> bool:
  """Whether D2V_TRACEBACK asks for errors as they were raised."""
  return bool(os.environ.get("D2V_TRACEBACK"))


def status_of(command: Callable[..., int], *args: Any) -> int:
  """Exit status of a command, also where it is interrupted or input is wrong.

  Args:
    command: returns its exit status.
    *args: what it is called with.
  """
  try:
    return command(*args)
  except KeyboardInterrupt:
    return 130
  except (ValueError, OSError) as e:
    return report(e)
