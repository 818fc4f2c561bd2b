"""How this process ends when JAX gives up on the others of its run.

JAX then ends it from a thread of its own, by abort(): no Python code learns of
it, and the exit status is that of a crash. What is asked for here is another
end, with a sentence and a status that says to try again.
"""

import ctypes
import os
import signal
from typing import Any

# What is called must not be collected, and there is one such end in a process.
_ends: list[Any] = []


def end_with(status: int, sentence: str) -> None:
  """Makes abort() end this process with a status, from now on.

  JAX has said before what it found, with lines of C++. Only for runs of several
  processes: in others abort() means a fault in a library.

  Args:
    status: exit status.
    sentence: for stderr.
  """

  # Not by signal.signal: Python would note the signal, and the process would be
  # gone before it acts on it.
  @ctypes.CFUNCTYPE(None, ctypes.c_int)
  def end(signum: int) -> None:
    os.write(2, f"{sentence}\n".encode())
    os._exit(status)

  _ends.append(end)
  ctypes.CDLL(None).signal(signal.SIGABRT, end)
