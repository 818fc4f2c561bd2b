"""A run of ours as a model on its way in or out."""

import contextlib
import json
import os
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from d2v_jax import config as config_lib
from d2v_jax import run_shares
from d2v_jax.interchange.files import write_all
from d2v_jax.interchange.model import Model
from d2v_jax.interchange.weights import InterchangeError
from d2v_jax.modalities import MODALITIES
from d2v_jax.training.checkpoints import (
  checkpoint,
  checkpoint_files,
  stored_items,
)
from d2v_jax.training.workdir import provenance

_OWN_FILES = ("run.json", "checkpoints")
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def read(workdir: epath.PathLike, *, step: int | None = None) -> Model:
  """Reads a run's newest valid checkpoint.

  Args:
    workdir: of the run.
    step: of the checkpoint; None: the newest.

  Returns:
    Student and teacher in float32; `files` is empty.

  Raises:
    ValueError: there is no such run.
  """
  workdir = epath.Path(workdir)
  config = config_lib.plain(provenance.read(workdir).get("config", {}))
  # What leaves has no length of the run with it.
  config = run_shares.resolved(config)
  modality = config.get("modality")
  if modality not in MODALITIES or "encoder" not in config:
    raise ValueError(
      f"{workdir / 'run.json'} does not say what model the run has; check that "
      "it is the workdir of a run."
    )
  directory = workdir / "checkpoints"
  step, items = stored_items.describe(directory, step=step)
  trees = {
    item: jax.tree.map(
      np.asarray, stored_items.load_item(directory, item, step=step)[1]
    )
    for item in ("params", "teacher_params")
    if item in items
  }
  objective = config.get("objective", {})
  return Model(
    modality=modality,
    encoder=config["encoder"],
    objective=objective,
    params=trees["params"],
    teacher_params=trees.get("teacher_params", {}),
    data=config.get("data", {}),
    description=f"{objective.get('name', 'encoder')}, step {step} of a run",
  )


def write(
  workdir: epath.PathLike, model: Model, origin: dict[str, Any]
) -> epath.Path:
  """Writes run.json, checkpoints/0 and the model's files, or nothing.

  The result serves as `config.init_from`, and wherever else a run does.

  Args:
    workdir: a folder that does not exist yet, or is empty.
    model: what becomes a run.
    origin: where it comes from, for run.json; anything JSON can hold.

  Returns:
    The workdir.

  Raises:
    ValueError: the workdir holds something, or cannot be written.
  """
  workdir = checkpoint_files.absolute(workdir)
  require_free(workdir)
  # It is written beside its place, and moved there when it is whole.
  unfinished = workdir.parent / f".{workdir.name}.unfinished-{os.getpid()}"
  try:
    workdir.parent.mkdir(parents=True, exist_ok=True)
    unfinished.mkdir()
    _write(unfinished, model, origin, workdir)
    if workdir.exists():
      workdir.rmdir()
    unfinished.rename(workdir)
  except OSError as e:
    raise ValueError(f"cannot write {workdir}: {e}; choose another.") from e
  finally:
    if unfinished.exists():
      unfinished.rmtree()
  return workdir


def require_free(workdir: epath.PathLike) -> None:
  """Raises InterchangeError if the folder holds something already."""
  workdir = epath.Path(workdir)
  if workdir.exists() and (not workdir.is_dir() or any(workdir.iterdir())):
    raise InterchangeError(
      f"{workdir} exists and is not empty; nothing is overwritten, choose "
      "another folder."
    )


def _write(
  folder: epath.Path, model: Model, origin: dict[str, Any], workdir: epath.Path
) -> None:
  for name in model.files:
    parts = name.split("/")
    if parts[0] in _OWN_FILES or not all(map(_PLAIN.fullmatch, parts)):
      raise ValueError(f"a file beside a run cannot be called {name!r}.")
  write_all(folder, model.files)
  config = _config(model, workdir)
  checkpoints = checkpoint.Checkpoints(folder / "checkpoints")
  with contextlib.closing(checkpoints):
    trees = ("params", "teacher_params")
    items = {item: getattr(model, item) for item in trees}
    loop = {"config": config, "num_examples": 0, "identity": {}}
    checkpoints.save(0, jax.tree.map(jnp.array, items), loop)
  provenance.record_start(folder, config, 0)
  record = {**provenance.read(folder), "origin": origin}
  (folder / "run.json").write_text(json.dumps(record, indent=2) + "\n")


def _config(model: Model, workdir: epath.Path) -> dict[str, Any]:
  """What a config of ours would say of the model."""
  data = dict(model.data)
  tokenizer = data.get("tokenizer", {})
  path = tokenizer.get("path")
  if any(path == name.split("/")[0] for name in model.files):
    data["tokenizer"] = {**tokenizer, "path": str(workdir / path)}
  return {
    "modality": model.modality,
    "encoder": model.encoder,
    "objective": model.objective,
    "data": data,
  }
