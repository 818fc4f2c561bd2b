"""What exactly ran: config, versions, commit and devices of every start."""

import importlib.metadata
import json
import pathlib
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

import jax
from etils import epath

import d2v_jax

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain")


def record_start(
  workdir: epath.Path, config: Mapping[str, Any], step: int
) -> None:
  """Writes run.json: the config, and one more entry in `starts`."""
  path = workdir / "run.json"
  starts = read(workdir)["starts"] if path.exists() else []
  start = {
    "step": step,
    "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    **environment(),
  }
  record = {"config": config, "starts": [*starts, start]}
  temporary = workdir / "run.json.tmp"
  temporary.write_text(json.dumps(record, indent=2) + "\n")
  temporary.replace(path)


def read(workdir: epath.Path) -> dict[str, Any]:
  """Reads run.json.

  Raises:
    ValueError: if there is none or it is damaged.
  """
  path = workdir / "run.json"
  try:
    return json.loads(path.read_text())
  except FileNotFoundError as e:
    raise ValueError(
      f"{workdir} has no run.json, so it is not the workdir of a run; check "
      "the path."
    ) from e
  except json.JSONDecodeError as e:
    raise ValueError(
      f"{path} is damaged ({e}); move it away, the run writes a new one."
    ) from e


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
