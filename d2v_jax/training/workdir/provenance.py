"""What exactly ran: config, versions, commit and devices of every start."""

import importlib.metadata
import json
import pathlib
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
from etils import epath

import d2v_jax
from d2v_jax.training.workdir import side_files

EVALUATION = "evaluation.json"
PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain")


def record_start(
  workdir: epath.Path,
  config: Mapping[str, Any],
  step: int,
  tell: Callable[[str], None] = print,
  notes: Mapping[str, Any] | None = None,
) -> None:
  """Writes run.json: the config, and one more entry in `starts`.

  Args:
    workdir: of the run.
    config: that it was built from.
    step: that it goes on from.
    tell: is called with what of a damaged record is lost.
    notes: what else this start is told of by.
  """
  path = workdir / "run.json"
  starts = []
  if path.exists():
    try:
      starts = read(workdir).get("starts", [])
    except (ValueError, IsADirectoryError):
      aside = side_files.set_aside(path)
      tell(
        f"{path} is damaged: what it said of earlier starts is lost; set aside "
        f"as {aside.name}"
      )
  start = {
    "step": step,
    "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    **environment(),
    **(notes or {}),
  }
  record = {"config": config, "starts": [*starts, start]}
  side_files.replace(path, json.dumps(record, indent=2) + "\n")


def record_evaluation(
  workdir: epath.PathLike, step: int, results: Mapping[str, float]
) -> None:
  """Writes evaluation.json, in process 0: what was measured, and when.

  Args:
    workdir: where it goes.
    step: of the checkpoint.
    results: metric name -> value.
  """
  if jax.process_index() == 0:
    text = json.dumps({"step": step, **results}, indent=2) + "\n"
    side_files.replace(epath.Path(workdir) / EVALUATION, text)


def read(workdir: epath.Path) -> dict[str, Any]:
  """Reads run.json.

  Raises:
    ValueError: if there is none or it is damaged.
  """
  path = workdir / "run.json"
  try:
    record = json.loads(path.read_bytes())
  except FileNotFoundError as e:
    raise ValueError(
      f"{workdir} has no run.json, so it is not the workdir of a run; check "
      "the path."
    ) from e
  except (ValueError, RecursionError) as e:  # no JSON, no UTF-8, too deep
    raise ValueError(
      f"{path} is damaged ({e}); move it away, the run writes a new one."
    ) from e
  if not (
    isinstance(record, dict)
    and isinstance(record.get("config"), dict)
    and isinstance(record.get("starts", []), list)
    and all(isinstance(x, dict) for x in record.get("starts", []))
  ):
    raise ValueError(
      f"{path} is damaged (it holds no config); move it away, the run writes a "
      "new one."
    )
  return record


def environment() -> dict[str, Any]:
  """Versions, commit, devices and the command line of this process."""
  devices = jax.devices()
  return {
    "command": ["python", *sys.orig_argv[1:]],
    "python": platform.python_version(),
    "versions": {
      "d2v_jax": d2v_jax.__version__,
      **{p: importlib.metadata.version(p) for p in PACKAGES},
    },
    "commit": git_commit(),
    "devices": f"{len(devices)} x {devices[0].device_kind}",
    "processes": jax.process_count(),
  }


def git_commit() -> str | None:
  """Commit of the source tree, '+' if it has changes; None without git."""
  root = pathlib.Path(__file__).parent

  def git(*args: str) -> str:
    return subprocess.run(
      ["git", *args], cwd=root, capture_output=True, text=True, check=True
    ).stdout.strip()

  try:
    changed = git("status", "--porcelain", "--untracked-files=no")
    return git("rev-parse", "HEAD") + ("+" if changed else "")
  except (OSError, subprocess.CalledProcessError):
    return None
