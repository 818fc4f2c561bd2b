"""What has ended a run, in one sentence and one exit status."""

import os
import signal
import sys
import traceback

import jax
from etils import epath

from d2v_jax import bad_input, exit_status
from d2v_jax.data.workers import WorkerDied
from d2v_jax.training.checkpoints import checkpoint_files, outages
from d2v_jax.training.checkpoints.checkpoint import SaveFailed
from d2v_jax.training.trouble.health import UnhealthyRun
from d2v_jax.training.trouble.stop_signals import Interrupted
from d2v_jax.training.workdir.lease import InUse, Lost

_AGAIN = "run the same command to go on"
# How JAX begins what it says of other processes and of connections.
_PEERS = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "ABORTED", "CANCELLED")
_CONNECTIONS = ("Connection closed by peer", "Connection reset by peer", "Gloo")


def report(error: BaseException, workdir: str) -> int:
  """Says on stderr what has happened; raises what nobody has foreseen.

  With D2V_TRACEBACK=1 in the environment it shows where that came from, too.

  Args:
    error: what has ended the run.
    workdir: of the run.

  Returns:
    The exit status of the command.
  """
  # Before others: what is wrong with an input may be any kind of ValueError.
  if isinstance(error, ValueError):
    return bad_input.report(error)
  ended = _judged(error, workdir)
  if ended is None:
    raise error
  status, text = ended
  if os.environ.get("D2V_TRACEBACK"):
    traceback.print_exception(error)
  print(text, file=sys.stderr)
  return status


def of_a_peer(workdir: str) -> str:
  """What is said where JAX ends this process, as another one is gone.

  Nothing can be looked at then.
  """
  return (
    "stopped: another process of the run, or the connection to it, is gone, "
    f"and JAX has ended this one. What {workdir} holds is whole; start all "
    "processes again to go on."
  )


def _judged(error: BaseException, workdir: str) -> tuple[int, str] | None:
  """Status and sentence; None for an error of this software."""
  match error:
    case Interrupted():
      return exit_status.interrupted(error.signum), f"{error}; {_AGAIN}."
    case KeyboardInterrupt():
      signum = getattr(error, "signum", signal.SIGINT)
      name = signal.Signals(signum).name
      return exit_status.interrupted(signum), (
        f"{name}: stopped at once. {_saved(workdir)}; {_AGAIN}."
      )
    case UnhealthyRun():
      return exit_status.SICK, f"stopped: {error}"
    case InUse():
      return exit_status.IN_USE, f"refused: {error}"
    case Lost() | SaveFailed() | WorkerDied():
      return _outage(f"{error}", workdir)
    case _ if outages.is_of_storage(error):
      what = f"{type(error).__name__}: {error}"
      if outages.is_outage(error):
        return _outage(what, workdir)
      return exit_status.WRONG_INPUT, (
        f"error: {what}. {_saved(workdir)}; change what is wrong there, or "
        "choose another workdir."
      )
    case jax.errors.JaxRuntimeError() if _is_of_a_peer(str(error)):
      first = str(error).strip().splitlines()[0][:300]
      return _outage(
        f"another process of the run, or the connection to it, is gone: "
        f"{first}",
        workdir,
      )
  return None


def _outage(what: str, workdir: str) -> tuple[int, str]:
  return exit_status.INFRASTRUCTURE, (
    f"stopped: {what.rstrip('.')}. {_saved(workdir)}; when that is repaired, "
    f"{_AGAIN}."
  )


def _is_of_a_peer(text: str) -> bool:
  return text.startswith(_PEERS) or any(x in text for x in _CONNECTIONS)


def _saved(workdir: str) -> str:
  """What has survived."""
  folder = epath.Path(workdir) / "checkpoints"
  try:
    steps = checkpoint_files.steps_on_disk(folder)
  except OSError as e:
    return f"What is saved in {folder} cannot be seen now ({e})"
  if not steps:
    return f"No checkpoint has been saved in {folder}"
  return f"The newest checkpoint in {folder} is that of step {steps[0]}"
