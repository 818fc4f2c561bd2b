"""The run that owns a workdir: what it says of itself, and whether it lives."""

import os
import pathlib
import socket
import time
import uuid
from typing import Any

Owner = dict[str, Any]


def described(owner: Owner) -> str:
  """Names it for a person."""
  if not owner:
    return "a run that cannot be named, as what it says cannot be read"
  return (
    f"the run of process {owner.get('process')} on host {owner.get('host')}, "
    f"started {owner.get('started')}"
  )


def this_process() -> Owner:
  """What this process says of itself; `token` is new in each call."""
  return {
    "host": socket.gethostname(),
    "process": os.getpid(),
    "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    "token": uuid.uuid4().hex,
    "machine": _machine(),
    "process_started": _start_of(os.getpid()),
  }


def _machine() -> str | None:
  """This boot of this machine, as far as its processes see each other."""
  try:
    boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot} {os.readlink('/proc/self/ns/pid')}"
  except OSError:
    return None


def _start_of(process: Any) -> str | None:
  """When a process began, in ticks since the boot; None: there is none."""
  try:
    status = pathlib.Path(f"/proc/{process}/stat").read_text()
  except OSError:
    return None
  # The second field is a name that may hold anything.
  state, *fields = status.rpartition(")")[2].split()
  return None if state in "ZX" else fields[18]


def _is_ours(owner: Owner) -> bool:
  """Whether this process can see that of the owner, if it lives."""
  machine = _machine()
  return machine is not None and owner.get("machine") == machine


def lives(owner: Owner) -> bool:
  """Whether the owner is seen to live."""
  if not _is_ours(owner):
    return False
  start = _start_of(owner.get("process"))
  return start is not None and start == owner.get("process_started")


def is_dead(owner: Owner) -> bool:
  """Whether the owner is seen to be dead."""
  return _is_ours(owner) and not lives(owner)
