"""What gets the metrics, too: TensorBoard, Weights & Biases or trackio.

All three are libraries that need not be there, and none can fail a run.
"""

import importlib.util
import json
import math
import os
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol

from etils import epath

from d2v_jax import storage
from d2v_jax.config import ConfigError
from d2v_jax.training.workdir import side_files

LoggerName = Literal["none", "tensorboard", "wandb", "trackio"]
# Logger -> its library.
_LIBRARIES = {
  "tensorboard": "tensorboardX",
  "wandb": "wandb",
  "trackio": "trackio",
}
# What of a run these know it by, so that it goes on there when it does here.
FILE = "logger.json"
_PROJECT = "d2v_jax"


class Logger(Protocol):
  """Gets what is written to metrics.jsonl."""

  def log(self, step: int, values: Mapping[str, float]) -> None:
    """Takes the finite metrics of a step."""

  def close(self) -> None:
    """Writes what is left."""


def check(name: LoggerName) -> None:
  """Raises ConfigError where a logger that was asked for is not installed.

  TensorBoard, which nobody has to ask for, is left out then.
  """
  if name in ("none", "tensorboard") or _is_there(name):
    return
  raise ConfigError(
    f"config.logger={name!r} needs the library {name}, which is not installed: "
    f"pip install 'd2v_jax[{name}]', or set config.logger to tensorboard or "
    "none; metrics.jsonl has all in any case."
  )


def opened(
  name: LoggerName,
  workdir: epath.Path,
  start_step: int,
  config: Mapping[str, Any],
  tell: Callable[[str], None],
) -> Logger:
  """Opens the logger of a run, or goes on with it.

  Args:
    name: config.logger.
    workdir: of the run.
    start_step: that it goes on from.
    config: of the run.
    tell: is called, once, when the logger has failed.

  Returns:
    One that raises nothing.
  """
  if name == "none" or not _is_there(name):
    return _Guarded(name, lambda: None, tell)
  makers: dict[str, Callable[[], Logger]] = {
    "tensorboard": lambda: _TensorBoard(workdir, start_step),
    "wandb": lambda: _Wandb(workdir, config),
    "trackio": lambda: _Trackio(workdir, config),
  }
  return _Guarded(name, makers[name], tell)


def _is_there(name: str) -> bool:
  found = importlib.util.find_spec(_LIBRARIES[name])
  # A folder of that name, as they leave one where they run, is none.
  return found is not None and found.origin is not None


class _Guarded:
  """A logger that is given up when it fails; the run goes on."""

  def __init__(
    self,
    name: str,
    make: Callable[[], Logger | None],
    tell: Callable[[str], None],
  ) -> None:
    self._name = name
    self._tell = tell
    self._logger: Logger | None = None
    self._try(lambda: setattr(self, "_logger", make()))

  def log(self, step: int, values: Mapping[str, float]) -> None:
    if (logger := self._logger) is not None:
      finite = {k: v for k, v in values.items() if math.isfinite(v)}
      self._try(lambda: logger.log(step, finite))

  def close(self) -> None:
    if (logger := self._logger) is not None:
      self._try(logger.close)

  def _try(self, action: Callable[[], None]) -> None:
    try:
      action()
    # Whatever it is: of a network, an account, or a library of theirs.
    except Exception as e:
      self._logger = None
      self._tell(
        f"warning: {self._name} failed and gets no more of this run, whose "
        f"metrics.jsonl has all: {type(e).__name__}: {e}"
      )


class _TensorBoard:
  def __init__(self, workdir: epath.Path, start_step: int) -> None:
    import tensorboardX

    self._writer = None
    if not storage.in_bucket(workdir):
      self._writer = tensorboardX.SummaryWriter(
        str(workdir / "tensorboard"),
        purge_step=start_step + 1 if start_step else 0,
      )

  def log(self, step: int, values: Mapping[str, float]) -> None:
    if self._writer is not None:
      for name, value in values.items():
        self._writer.add_scalar(name, value, step)

  def close(self) -> None:
    if self._writer is not None:
      self._writer.close()


class _Wandb:
  """Steps are a metric: of its own ones it takes none that it has had."""

  def __init__(self, workdir: epath.Path, config: Mapping[str, Any]) -> None:
    import wandb

    self._run = wandb.init(
      project=os.environ.get("WANDB_PROJECT", _PROJECT),
      name=workdir.name,
      id=_run_id(workdir, "wandb"),
      resume="allow",
      dir=None if storage.in_bucket(workdir) else str(workdir),
      config=json.loads(json.dumps(config)),
    )
    self._run.define_metric("step")
    self._run.define_metric("*", step_metric="step")

  def log(self, step: int, values: Mapping[str, float]) -> None:
    self._run.log({"step": step, **values})

  def close(self) -> None:
    self._run.finish()


class _Trackio:
  """A run goes on under its name, which therefore is its own."""

  def __init__(self, workdir: epath.Path, config: Mapping[str, Any]) -> None:
    import trackio

    self._run = trackio.init(
      project=os.environ.get("TRACKIO_PROJECT", _PROJECT),
      name=f"{workdir.name}-{_run_id(workdir, 'trackio')}",
      resume="allow",
      config=json.loads(json.dumps(config)),
      embed=False,
    )

  def log(self, step: int, values: Mapping[str, float]) -> None:
    self._run.log(dict(values), step=step)

  def close(self) -> None:
    self._run.finish()


def _run_id(workdir: epath.Path, name: str) -> str:
  """The run's name at a logger: as it was, or a new one, which is kept."""
  path = workdir / FILE
  try:
    kept = json.loads(path.read_bytes())
  except (OSError, ValueError, RecursionError):
    kept = {}
  kept = kept if isinstance(kept, dict) else {}
  if not isinstance(kept.get(name), str):
    kept[name] = uuid.uuid4().hex[:8]
    side_files.replace(path, json.dumps(kept, indent=2) + "\n")
  return kept[name]
