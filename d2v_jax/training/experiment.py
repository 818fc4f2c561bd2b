"""A run: what it is made of, as planned and with its data."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import optax
from etils import epath

from d2v_jax.config import Spec
from d2v_jax.data import pipeline
from d2v_jax.data.dataset import Dataset
from d2v_jax.objectives.objective import Objective
from d2v_jax.training import evaluation as evaluation_lib
from d2v_jax.training import schedules
from d2v_jax.training.checkpoints.checkpoint import Checkpoints
from d2v_jax.training.logs.loggers import LoggerName
from d2v_jax.training.logs.profile import Profile
from d2v_jax.training.trouble import health as health_lib


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
  """What a run is made of, beside its data.

  Attributes:
    config: what it was built from.
    objective: what is learned, with its network.
    tx: the optimizer.
    schedule: update number -> learning rate.
    dataset: config.data.
    checkpoints: folder -> its checkpoints.
    logger: what gets the metrics beside metrics.jsonl.
    report: the page that is written at the end: none, its curves (with all
      else that the run's files tell), or the whole, for which networks run.
  """

  config: Spec
  seed: int
  total_steps: int
  batch_size: int
  accumulate: int
  log_every: int
  checkpoint_every: int
  checkpoints: Callable[[epath.Path], Checkpoints]
  init_from: str
  init_model: str
  objective: Objective
  tx: optax.GradientTransformation
  schedule: schedules.Schedule
  mesh: jax.sharding.Mesh
  health: health_lib.Health
  profile: Profile | None
  logger: LoggerName
  report: str
  dataset: Dataset


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunPlan(Settings):
  """A run, built from its config alone; its data are not opened yet.

  Attributes:
    evaluation: config.evaluation.
  """

  evaluation: evaluation_lib.EvaluationPlan


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment(Settings):
  """A run with its data.

  Attributes:
    records: what examples to train on are made of, for a first look; the
      examples themselves, where many records make one.
    num_examples: to train on.
    identity: name -> what else must be found again to go on with the run.
    example_batch: shapes and dtypes of a global batch, of the longest ones.
    batch_kinds: those of each length that batches have.
    batches: (start_step, corrupt_log) -> this process's training batches.
    evaluation: evaluators, and batches of the splits.
    held_out: (rows, shape) -> so many examples of this process, with inputs of
      that shape, that are prepared as for training, of the split `test`; None:
      there is none.
  """

  records: Any
  num_examples: int
  identity: dict[str, Any]
  example_batch: dict[str, jax.ShapeDtypeStruct]
  batch_kinds: list[dict[str, jax.ShapeDtypeStruct]]
  batches: Callable[..., pipeline.TrainBatches]
  evaluation: evaluation_lib.Evaluation
  held_out: Callable[[int, tuple[int, ...]], pipeline.Batch] | None
