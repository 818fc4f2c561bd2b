"""An experiment made concrete: shardings, compiled step, feature extraction."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from d2v_jax import checkpoint, sharding, train_state
from d2v_jax.evaluators import evaluate
from d2v_jax.evaluators.features import FeatureExtractor
from d2v_jax.experiment import Experiment
from d2v_jax.train_state import TrainState
from d2v_jax.train_step import train_step


class Trainer:
  """What the loop needs, compiled once.

  Attributes:
    experiment: what it was made from.
    abstract_state: shapes, dtypes and shardings of the state.
    step: jitted (state, batch) -> (state, metrics); the state is donated.
  """

  def __init__(self, experiment: Experiment):
    self.experiment = experiment
    parts = {"objective": experiment.objective, "tx": experiment.tx}
    self._create = functools.partial(train_state.create, **parts)
    self._from_params = functools.partial(train_state.from_params, **parts)
    self._rng = jax.random.key(experiment.seed)
    shapes = jax.eval_shape(self._create, self._rng, experiment.example_batch)
    self._state_sharding = sharding.state_sharding(
      shapes, experiment.mesh, experiment.sharding
    )
    self._batch_sharding = sharding.batch_sharding(experiment.mesh)
    self.abstract_state = jax.tree.map(
      lambda a, s: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=s),
      shapes,
      self._state_sharding,
    )
    self.step = jax.jit(
      functools.partial(
        train_step,
        schedule=experiment.schedule,
        accumulate=experiment.accumulate,
        **parts,
      ),
      donate_argnums=0,
      in_shardings=(self._state_sharding, self._batch_sharding),
      out_shardings=(
        self._state_sharding,
        sharding.replicated(experiment.mesh),
      ),
    )
    # What does not fit together should be an error before anything is made.
    self.step.eval_shape(self.abstract_state, experiment.example_batch)
    self._extract = FeatureExtractor(
      experiment.objective.encode,
      experiment.evaluation.batches,
      self.to_devices,
      predict=getattr(experiment.objective, "predict", None),
    )

  def to_devices(self, batch: dict[str, np.ndarray]) -> dict[str, jax.Array]:
    """This host's rows [b, ...] as global arrays [B, ...]."""
    return sharding.to_devices(batch, self._batch_sharding)

  def init_state(self) -> TrainState:
    """Fresh state, or one around the student of config.init_from.

    Sub-trees that the objective names `fresh` are never taken from there; all
    others must be there with the same shapes.
    """

    def create(given):
      batch = {
        key: jnp.zeros(s.shape, s.dtype)
        for key, s in self.experiment.example_batch.items()
      }
      state = self._create(self._rng, batch)
      return self._from_params(state.rng, {**state.params, **given})

    create = jax.jit(create, out_shardings=self._state_sharding)
    return create(self._given_params())

  def _given_params(self) -> dict[str, Any]:
    """The student of config.init_from without its `fresh` sub-trees."""
    source = self.experiment.init_from
    if not source:
      return {}
    fresh = getattr(self.experiment.objective, "fresh", ())
    wanted = self.abstract_state.params.items()
    try:
      _, params = checkpoint.load_item(
        epath.Path(source) / "checkpoints",
        "params",
        {name: tree for name, tree in wanted if name not in fresh},
        ignore=fresh,
      )
    except ValueError as e:
      raise ValueError(
        f"config.init_from must be the workdir of a run, got {source!r}: {e}"
      ) from e
    return params

  def state_at(self, step: int, items: dict[str, Any]) -> TrainState:
    """The state that a checkpoint of this run stands for."""
    # By jit, as device_put cannot put a key on other hosts' devices.
    rest = jax.jit(
      lambda: (jnp.int32(step), train_state.step_rng(self._rng)),
      out_shardings=(self._state_sharding.step, self._state_sharding.rng),
    )
    step, rng = rest()
    return TrainState(step=step, rng=rng, **items)

  def evaluate(
    self, params: dict[str, Any], teacher_params: dict[str, Any]
  ) -> dict[str, float]:
    """Runs the evaluators on frozen features."""
    extract = functools.partial(self._extract, params, teacher_params)
    return evaluate(self.experiment.evaluation.evaluators, extract)
