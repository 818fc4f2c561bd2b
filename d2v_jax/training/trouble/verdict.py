"""Why a run was stopped as sick, so that it is not started again unawares.

The file `verdict.json` lies beside the checkpoints until another one replaces
it. A start with a config that would do the same again is refused by it.
"""

import json
from typing import Any

import jax
from etils import epath

from d2v_jax import config as config_lib
from d2v_jax.training.checkpoints.checkpoint import Checkpoints
from d2v_jax.training.experiment import Experiment
from d2v_jax.training.resuming import RESUMABLE, as_json
from d2v_jax.training.trouble.health import UnhealthyRun
from d2v_jax.training.workdir import side_files
from d2v_jax.training.workdir.together import from_process_0

FILE = "verdict.json"
# Thresholds count as a change: they are what the verdict rests on.
_NO_CHANGE = tuple(field for field in RESUMABLE if field != "health")
_REFUSED = -2
_NONE = -1


def record(
  workdir: epath.Path, run: Experiment, step: int, reason: str
) -> None:
  """Writes that a run was stopped, in process 0."""
  if jax.process_index() == 0:
    content = {"step": step, "reason": reason, "config": as_json(run.config)}
    side_files.replace(workdir / FILE, json.dumps(content, indent=2) + "\n")


def require_change(
  workdir: epath.Path, run: Experiment, word: bool, newest: int
) -> int:
  """Lets a run go on that was not stopped, has changed, or has the user's word.

  Args:
    workdir: of the run.
    run: that would go on.
    word: whether the user wants it to go on as it is.
    newest: step of the newest checkpoint.

  Returns:
    The step until which what was wrong is forgiven by such a word; -1: none.

  Raises:
    UnhealthyRun: it was stopped, and would do the same again.
  """
  found = _read(workdir / FILE) if jax.process_index() == 0 else {}
  answer = _NONE
  if found:
    answer = found.get("forgiven", _NONE)
    new = as_json(run.config)
    same = not config_lib.differences(found["config"], new, _NO_CHANGE)
    if same and answer == _NONE:
      answer = newest if word else _REFUSED
      if word:
        text = json.dumps({**found, "forgiven": newest}, indent=2)
        side_files.replace(workdir / FILE, text + "\n")
  answer = from_process_0(answer)
  if answer == _REFUSED:
    reason = found.get("reason", "see the log of process 0")
    raise UnhealthyRun(
      "this run was stopped before, and the same config would do the same "
      f"again. What was said then: {reason} Change the config (--rewind=STEP "
      "goes back to a checkpoint and on from there with changed values), or "
      "say --ignore_verdict to go on as it is.",
      found.get("step", newest),
    )
  return answer


def reason(workdir: epath.Path) -> str:
  """Why a run was stopped last, with what it can do about it; '': it was not.

  Args:
    workdir: of the run.
  """
  return str(_read(workdir / FILE).get("reason", ""))


def kept(checkpoints: Checkpoints, healthy: int | None) -> str:
  """Says where a run that was stopped can go on.

  Args:
    checkpoints: of the run.
    healthy: step of the last one with which nothing was wrong.
  """
  if healthy is None or healthy not in checkpoints.steps():
    return "No checkpoint is from before that."
  return (
    f"The last healthy checkpoint is that of step {healthy} in "
    f"{checkpoints.directory}, and stays; --rewind={healthy} goes back to it."
  )


def _read(path: epath.Path) -> dict[str, Any]:
  """The verdict; {} where there is none that can be read."""
  try:
    content = json.loads(path.read_bytes())
  except (OSError, ValueError, RecursionError):
    return {}
  if not isinstance(content, dict):
    return {}
  types = {"config": dict, "reason": str, "step": int}
  fits = all(isinstance(content.get(k), t) for k, t in types.items())
  return content if fits and isinstance(content.get("forgiven", 0), int) else {}
