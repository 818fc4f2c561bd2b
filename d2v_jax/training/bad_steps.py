"""What a step that was skipped was made of, for whoever wants to know why."""

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from etils import epath

FOLDER = "bad_steps"


def keep(
  workdir: epath.Path,
  step: int,
  batch: Mapping[str, np.ndarray],
  names: Sequence[str],
  metrics: Sequence[Mapping[str, float]],
  seed: int,
) -> epath.Path:
  """Writes this process's part of a step: batch.npz and step.json.

  Args:
    workdir: of the run.
    step: its number.
    batch: this process's rows [b, ...], masks among them.
    names: of the examples, in order.
    metrics: of the steps before, and of this one.
    seed: of the run, from which, with the step, all keys are made.

  Returns:
    The folder, `bad_steps/STEP`, with the number of the process if that is not
    0.
  """
  process = jax.process_index()
  folder = workdir / FOLDER / (f"{step}-{process}" if process else f"{step}")
  folder.mkdir(parents=True, exist_ok=True)
  arrays = io.BytesIO()
  by_name: dict[str, Any] = dict(batch)
  np.savez(arrays, **by_name)
  (folder / "batch.npz").write_bytes(arrays.getvalue())
  content: dict[str, Any] = {
    "step": step,
    "seed": seed,
    "examples": list(names),
    # As text where JSON has no number.
    "metrics": [{k: _number(v) for k, v in x.items()} for x in metrics],
  }
  (folder / "step.json").write_text(json.dumps(content, indent=2) + "\n")
  return folder


def _number(value: float) -> float | str:
  return float(value) if np.isfinite(value) else str(value)
