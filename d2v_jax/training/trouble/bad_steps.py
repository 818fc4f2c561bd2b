"""What a bad step was made of, for whoever wants to know why.

A bundle is the folder `bad_steps/STEP` of a workdir: `batch.npz`, with the
masks, and `step.json`. Of several processes each has one, with its part of the
batch; those of others than the first are called `STEP-PROCESS`.
"""

import dataclasses
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from etils import epath

FOLDER = "bad_steps"
# How many bundles of a run are kept, the newest ones.
KEPT = 10
_TYPES = {
  "step": int,
  "processes": int,
  "examples": list,
  "metrics": list,
  "config": dict,
  "reason": str,
}


@dataclasses.dataclass(frozen=True)
class BadStep:
  """A bundle, with the parts of all processes.

  Attributes:
    step: its number.
    batch: name -> array [B, ...] of the global batch.
    examples: their names, in order.
    metrics: of the steps before, and of this one.
    config: of the run.
    reason: what was wrong.
  """

  step: int
  batch: dict[str, np.ndarray]
  examples: list[str]
  metrics: list[dict[str, Any]]
  config: dict[str, Any]
  reason: str


def keep(
  workdir: epath.Path,
  step: int,
  batch: Mapping[str, np.ndarray],
  names: Sequence[str],
  metrics: Sequence[Mapping[str, float]],
  config: Mapping[str, Any],
  reason: str,
) -> epath.Path:
  """Writes this process's part of a step, and removes what is too old.

  Args:
    workdir: of the run.
    step: its number.
    batch: this process's rows [b, ...], masks among them.
    names: of the examples, in order.
    metrics: of the steps before, and of this one.
    config: of the run, in which its seed is: with the step, all keys are made
      of that.
    reason: what was wrong.

  Returns:
    The folder.
  """
  folder = _folder(workdir / FOLDER, step, jax.process_index())
  folder.mkdir(parents=True, exist_ok=True)
  arrays = io.BytesIO()
  by_name: dict[str, Any] = dict(batch)
  np.savez(arrays, **by_name)
  (folder / "batch.npz").write_bytes(arrays.getvalue())
  content: dict[str, Any] = {
    "step": step,
    "reason": reason,
    "processes": jax.process_count(),
    "examples": list(names),
    # As text where JSON has no number.
    "metrics": [{k: _number(v) for k, v in x.items()} for x in metrics],
    "config": config,
  }
  (folder / "step.json").write_text(json.dumps(content, indent=2) + "\n")
  _remove_old(workdir / FOLDER)
  return folder


def read(bundle: epath.Path) -> BadStep:
  """What `keep` wrote in all processes.

  Args:
    bundle: the folder of process 0.

  Raises:
    ValueError: it is none, damaged, or parts of it are missing.
  """
  told = _told(bundle)
  step, count = told["step"], told["processes"]
  parts = [_folder(bundle.parent, step, i) for i in range(1, count)]
  all_told = [told, *map(_told, parts)]
  batches = [_arrays(folder) for folder in (bundle, *parts)]
  if (
    len({x["step"] for x in all_told}) > 1 or len(set(map(tuple, batches))) > 1
  ):
    raise ValueError(f"{bundle}: its parts are not of one step.")
  return BadStep(
    step=step,
    batch={
      # Process p has the rows p, p + count, ... of the global batch.
      name: np.stack([x[name] for x in batches], 1).reshape(
        -1, *batches[0][name].shape[1:]
      )
      for name in batches[0]
    },
    examples=[
      name
      for row in zip(*(x["examples"] for x in all_told), strict=False)
      for name in row
    ],
    metrics=told["metrics"],
    config=told["config"],
    reason=told["reason"],
  )


def _folder(parent: epath.Path, step: int, process: int) -> epath.Path:
  return parent / (f"{step}-{process}" if process else f"{step}")


def _remove_old(parent: epath.Path) -> None:
  """Removes this process's parts of all but the newest bundles."""
  process = f"{jax.process_index() or ''}"
  steps = []
  for folder in parent.iterdir():
    step, _, part = folder.name.partition("-")
    if step.isdecimal() and part == process:
      steps.append(int(step))
  for step in sorted(steps)[:-KEPT]:
    _folder(parent, step, jax.process_index()).rmtree()


def _told(folder: epath.Path) -> dict[str, Any]:
  path = folder / "step.json"
  try:
    content = json.loads(path.read_bytes())
  except OSError as e:
    raise ValueError(
      f"{folder} is no bundle of a bad step ({e}); give the folder "
      "bad_steps/STEP of a workdir."
    ) from e
  except (ValueError, RecursionError) as e:
    raise ValueError(f"{path} is damaged: {e}.") from e
  if not isinstance(content, dict):
    raise ValueError(f"{path} is damaged: it holds no object.")
  for name, kind in _TYPES.items():
    if not isinstance(content.get(name), kind):
      raise ValueError(f"{path} is damaged: it has no `{name}` that fits.")
  return content


def _arrays(folder: epath.Path) -> dict[str, np.ndarray]:
  path = folder / "batch.npz"
  try:
    with np.load(io.BytesIO(path.read_bytes())) as arrays:
      return dict(arrays)
  except (OSError, ValueError, EOFError, zipfile.BadZipFile) as e:
    raise ValueError(f"{path} cannot be read: {e}.") from e


def _number(value: float) -> float | str:
  return float(value) if np.isfinite(value) else str(value)
