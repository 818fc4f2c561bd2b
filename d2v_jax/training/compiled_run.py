"""An experiment made concrete: compiled step, state, feature extraction."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from d2v_jax.evaluators import evaluate
from d2v_jax.evaluators.feature_extractor import FeatureExtractor
from d2v_jax.objectives.objective import Params
from d2v_jax.training import sharding
from d2v_jax.training import state as train_state
from d2v_jax.training.checkpoints.checkpoint_leaves import require_match
from d2v_jax.training.checkpoints.stored_run import StoredRun
from d2v_jax.training.compiled_step import CompiledStep
from d2v_jax.training.experiment import Experiment
from d2v_jax.training.references import References
from d2v_jax.training.state import TrainState
from d2v_jax.training.trouble import gradient_norms
from d2v_jax.training.trouble.gradient_norms import GradientNorms
from d2v_jax.training.trouble.parts import Parts


class CompiledRun:
  """What the loop needs, compiled once.

  Attributes:
    experiment: what it was made from.
    abstract_state: shapes, dtypes and shardings of the state.
    step: jitted (state, batch) -> (state, metrics); the state is donated.
  """

  def __init__(self, experiment: Experiment) -> None:
    self.experiment = experiment
    self._made = CompiledStep(experiment, experiment.example_batch)
    self.abstract_state = self._made.abstract_state
    self.step = self._made.step
    self._between: Callable[[], None] = _nothing
    self._tell: Callable[[str], None] = _nothing
    self._reading: Callable[[], AbstractContextManager[None]] = (
      contextlib.nullcontext
    )
    self._extract = FeatureExtractor(
      sharding.under(experiment.mesh, experiment.objective.encode),
      self._batches,
      self.to_devices,
      predict=experiment.objective.predict,
      scores=experiment.objective.scores,
      grid=experiment.objective.encoder.grid,
    )

  def to_devices(self, batch: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
    """This host's rows [b, ...] as global arrays [B, ...]."""
    return sharding.to_devices(dict(batch), self._made.batch_sharding)

  def init_state(self) -> TrainState:
    """Fresh state, or one around the weights of config.init_from.

    Sub-trees that the objective names `fresh` are never taken from there, nor
    is the head or decoder of another objective; all others must be there with
    the same shapes. The teacher is the other run's where that has one, else a
    copy of the new student.
    """

    def create(params: Params, teacher_params: Params) -> TrainState:
      batch = {
        key: jnp.zeros(s.shape, s.dtype)
        for key, s in self.experiment.example_batch.items()
      }
      state = self._made.create(self._made.rng, batch)
      state = self._made.from_params(state.rng, {**state.params, **params})
      teacher_params = {**state.teacher_params, **teacher_params}
      return dataclasses.replace(state, teacher_params=teacher_params)

    compiled = jax.jit(create, out_shardings=self._made.state_sharding)
    state = compiled(*self._given_params())
    # As from a checkpoint, so that no restart has a program of its own.
    return self.state_at(
      0,
      {
        "params": state.params,
        "teacher_params": state.teacher_params,
        "opt_state": state.opt_state,
      },
    )

  def _given_params(self) -> tuple[Params, Params]:
    """Student and teacher of config.init_from, as far as they are taken."""
    run = self.experiment
    if not run.init_from:
      return {}, {}
    fresh, name = self.abstract_state.params, run.config["objective"]["name"]
    try:
      source = StoredRun(run.init_from)
      source.require(run.init_model)
      taken = source.taken_by(run.objective, name, fresh)
      read = functools.partial(
        source.read,
        encoder=run.objective.encoder,
        mesh=run.mesh,
      )
      params = read(taken, model=run.init_model)
      require_match(
        source.path,
        {"params": params},
        {"params": {k: fresh[k] for k in fresh if k in taken}},
      )
      tracked = source.averaged & set(self.abstract_state.teacher_params)
      teacher_params = read(tracked & taken, model="teacher")
    except ValueError as e:
      raise ValueError(
        "config.init_from must be the workdir of a run, got "
        f"{run.init_from!r}: {e}"
      ) from e
    return params, teacher_params

  def state_at(
    self, step: int, items: dict[str, Any], norms: Any = None
  ) -> TrainState:
    """The state that a checkpoint of this run stands for.

    Args:
      step: completed updates.
      items: parameters, teacher and optimizer.
      norms: what `gradient_norms.as_json` gave; None: they are counted anew.
    """
    places = self._made.state_sharding
    limited = places.gradient_norms is not None

    # By jit, as device_put cannot put a key on other hosts' devices. The step
    # is an argument: the program is the same wherever a run goes on.
    def small(step: Any, count: Any, mean: Any) -> tuple[Any, ...]:
      counted = GradientNorms(count, mean) if limited else None
      return step, train_state.step_rng(self._made.rng), counted

    out = (places.step, places.rng, places.gradient_norms)
    updates, rng, counted = jax.jit(small, out_shardings=out)(
      np.int32(step), *gradient_norms.of_json(norms)
    )
    return TrainState(step=updates, rng=rng, gradient_norms=counted, **items)

  def evaluate(
    self,
    params: Params,
    teacher_params: Params,
    between: Callable[[], None] | None = None,
    reading: Callable[[], AbstractContextManager[None]] | None = None,
    tell: Callable[[str], None] | None = None,
  ) -> dict[str, float]:
    """Runs the evaluators on frozen features.

    Args:
      params: of the student.
      teacher_params: the sub-trees that the teacher has of its own.
      between: is called before each batch; what it raises ends the evaluation.
      reading: is entered while batches are read and encoded, and left where
        something is computed of all of them.
      tell: is called with what goes on, in words, many times.
    """
    extract = functools.partial(self._extract, params, teacher_params)
    self._between = between or _nothing
    self._reading = reading or contextlib.nullcontext
    self._tell = tell or _nothing
    try:
      return evaluate(
        self.experiment.evaluation.evaluators,
        extract,
        lambda name: self._tell(f"evaluating: {name}"),
      )
    finally:
      self._between, self._reading = _nothing, contextlib.nullcontext
      self._tell = _nothing

  @functools.cached_property
  def parts(self) -> Parts:
    """What measures the network's parts."""
    run = self.experiment
    return Parts(run.objective, run.mesh, run.held_out)

  def references(self, workdir: epath.Path) -> References:
    """What the accuracies of features are compared with."""
    run = self.experiment
    return References(
      workdir,
      run.config,
      run.evaluation,
      run.objective.encoder,
      self._extract,
      run.mesh,
    )

  def _batches(self, split: str) -> Iterator[dict[str, np.ndarray]]:
    total, seen = len(self.experiment.evaluation.records[split]), 0
    with self._reading():
      for batch in self.experiment.evaluation.batches(split):
        self._between()
        self._tell(f"evaluating: {seen:,} of {total:,} examples of {split}")
        seen = min(total, seen + len(batch["valid"]) * jax.process_count())
        yield batch


def _nothing(*_: str) -> None:
  pass
