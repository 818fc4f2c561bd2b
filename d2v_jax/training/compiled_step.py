"""The update of a run as the program that devices get."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax

from d2v_jax.training import sharding
from d2v_jax.training import state as train_state
from d2v_jax.training.experiment import Settings
from d2v_jax.training.state import TrainState
from d2v_jax.training.step import train_step

Shapes = Mapping[str, jax.ShapeDtypeStruct]


class CompiledStep:
  """One update, jitted, with the shapes and the places of what it takes.

  Nothing is made: neither arrays nor, before its first call, a program. So the
  devices of the mesh need not exist.

  Args:
    settings: the run; its data are not asked for.
    batch: shapes and dtypes of a global batch.

  Attributes:
    rng: key of the run.
    abstract_state: shapes, dtypes and shardings of the state.
    state_sharding: where the state lives, a TrainState of shardings.
    batch_sharding: where batches live.
    step: jitted (state, batch) -> (state, metrics); the state is donated.

  Raises:
    ValueError: the batch and the objective do not fit together.
  """

  def __init__(self, settings: Settings, batch: Shapes) -> None:
    self.rng = jax.random.key(settings.seed)
    parts: dict[str, Any] = {
      "objective": settings.objective,
      "tx": settings.tx,
      "limit": settings.health.gradient_limit,
    }
    self.create: Callable[..., TrainState] = functools.partial(
      train_state.create, **parts
    )
    self.from_params: Callable[..., TrainState] = functools.partial(
      train_state.from_params, **parts
    )
    shapes = jax.eval_shape(self.create, self.rng, batch)
    self.state_sharding = sharding.state_sharding(
      shapes,
      settings.mesh,
      settings.objective.encoder.sub_trees.stacked,
    )
    self.batch_sharding = sharding.batch_sharding(settings.mesh)
    self.abstract_state = jax.tree.map(
      lambda a, s: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=s),
      shapes,
      self.state_sharding,
    )
    self.step = jax.jit(
      sharding.under(
        settings.mesh,
        functools.partial(
          train_step,
          schedule=settings.schedule,
          accumulate=settings.accumulate,
          skip_bad=settings.health.on_bad_step == "skip",
          **parts,
        ),
      ),
      donate_argnums=0,
      in_shardings=(self.state_sharding, self.batch_sharding),
      out_shardings=(
        self.state_sharding,
        sharding.replicated(settings.mesh),
      ),
    )
    # What does not fit together should be an error before anything is made.
    self.step.eval_shape(self.abstract_state, batch)
