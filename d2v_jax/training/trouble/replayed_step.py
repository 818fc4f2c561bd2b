"""A bad step once more, to see what in it is not finite."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from d2v_jax.training.checkpoints import checkpoint_files, stored_items
from d2v_jax.training.checkpoints.checkpoint_files import LOOP
from d2v_jax.training.compiled_run import CompiledRun
from d2v_jax.training.experiment import Experiment
from d2v_jax.training.state import TrainState
from d2v_jax.training.step import gradients
from d2v_jax.training.trouble import first_nonfinite
from d2v_jax.training.trouble.bad_steps import BadStep
from d2v_jax.training.trouble.first_nonfinite import Origin

_ITEMS = ("params", "teacher_params", "opt_state")
# How many names of examples a line has.
_LISTED = 8


@dataclasses.dataclass(frozen=True)
class Replay:
  """What a step did when it was repeated.

  Attributes:
    bad: what it was made of.
    begin: step of the checkpoint that was begun with; 0: from the beginning.
    metrics: of the step, now.
    origin: of what is not finite; None: all is.
  """

  bad: BadStep
  begin: int
  metrics: dict[str, float]
  origin: Origin | None

  def lines(self) -> list[str]:
    """Says it to a person."""
    now = {k: str(v) for k, v in self.metrics.items()}
    recorded = self.bad.metrics[-1] if self.bad.metrics else {}
    then = {k: str(recorded.get(k)) for k in now}
    same = all(then[k] in (now[k], "None") for k in ("loss", "grad_norm"))
    was = f"loss {then['loss']}, gradient norm {then['grad_norm']}"
    return [
      f"step {self.bad.step}, from {_begin(self.begin)}: loss {now['loss']}, "
      f"gradient norm {now['grad_norm']}, "
      + ("as in the run" if same else f"and in the run {was}"),
      *self._findings(),
    ]

  def _findings(self) -> list[str]:
    if self.origin is None:
      return [
        "loss and gradients are finite, operation by operation; in the run "
        f"{self.bad.reason}",
        f"its examples: {_listed(self.bad.examples)}",
      ]
    return [
      f"first not finite: {_described(self.origin)}",
      *(
        [f"the infinity came from: {_described(self.origin.because)}"]
        if self.origin.because
        else []
      ),
      self._examples(self.origin),
    ]

  def _examples(self, origin: Origin) -> str:
    names = self.bad.examples
    by_example = origin.shape[:1] == (len(names),) and not origin.backward
    if not by_example or len(origin.rows) == len(names):
      return f"its examples: {_listed(names)}"
    bad = [names[i] for i in origin.rows]
    return f"in {len(bad)} of {len(names)} examples: {_listed(bad)}"


def replay(
  experiment: Experiment,
  bundle: epath.Path,
  bad: BadStep,
  tell: Callable[[str], None],
) -> Replay:
  """Goes to the state before a bad step, and does that operation by operation.

  Args:
    experiment: the run, with its data.
    bundle: where the step lies, in the workdir of the run.
    bad: what lies there.
    tell: is called with what the user has to wait for.

  Raises:
    ValueError: the run does not fit the bundle or its checkpoints.
  """
  _require_fit(experiment, bundle, bad)
  compiled = CompiledRun(experiment)
  begin, state = _before(compiled, bundle.parent.parent, bad.step)
  tell(
    f"step {bad.step} from {_begin(begin)}: {bad.step - 1 - begin} steps to "
    "repeat on the way"
  )
  batches = experiment.batches(start_step=begin)
  try:
    for _ in range(begin, bad.step - 1):
      state, _ = compiled.step(state, compiled.to_devices(next(batches)))
  finally:
    batches.close()
  tell("and then operation by operation")
  origin = first_nonfinite.find(
    functools.partial(
      gradients,
      objective=experiment.objective,
      accumulate=experiment.accumulate,
    ),
    _arguments(state, bad.batch),
  )
  _, values = compiled.step(state, compiled.to_devices(bad.batch))
  metrics = {k: float(v) for k, v in jax.device_get(values).items()}
  return Replay(bad, begin, metrics, origin)


def _arguments(state: TrainState, batch: Any) -> dict[str, Any]:
  """Those of `gradients`, on one device."""
  rng = jax.random.fold_in(state.rng, state.step)
  return {
    "batch": batch,
    "params": jax.tree.map(np.asarray, state.params),
    "teacher_params": jax.tree.map(np.asarray, state.teacher_params),
    "rng": jax.random.wrap_key_data(
      jnp.asarray(np.asarray(jax.random.key_data(rng))),
      impl=jax.random.key_impl(rng),
    ),
  }


def _require_fit(
  experiment: Experiment, bundle: epath.Path, bad: BadStep
) -> None:
  kinds = [
    {k: (s.shape, s.dtype) for k, s in kind.items()}
    for kind in experiment.batch_kinds
  ]
  found = {k: (x.shape, x.dtype) for k, x in bad.batch.items()}
  if found not in kinds:
    raise ValueError(
      f"the batch in {bundle} is none of its run: it has {_shown(found)}, and "
      f"the config gives {_shown(kinds[0])}."
    )


def _shown(arrays: dict[str, tuple[tuple[int, ...], np.dtype]]) -> str:
  items = sorted(arrays.items())
  return ", ".join(f"{k} {d}{list(s)}" for k, (s, d) in items)


def _before(
  compiled: CompiledRun, workdir: epath.Path, step: int
) -> tuple[int, TrainState]:
  """The newest state that is kept from before a step, and when that was."""
  directory = workdir / "checkpoints"
  earlier = [n for n in checkpoint_files.steps_on_disk(directory) if n < step]
  if not earlier:
    return 0, compiled.init_state()
  items = {
    name: stored_items.load_item(
      directory,
      name,
      getattr(compiled.abstract_state, name),
      step=earlier[0],
    )[1]
    for name in _ITEMS
  }
  loop = checkpoint_files.read_content(directory / str(earlier[0]))[LOOP]
  norms = loop.get("gradient_norms")
  return earlier[0], compiled.state_at(earlier[0], items, norms)


def _begin(step: int) -> str:
  return f"the checkpoint of step {step}" if step else "the beginning"


def _described(origin: Origin) -> str:
  shape = " x ".join(map(str, origin.shape)) or "one number"
  if origin.operation == "input":
    return f"{origin.module}, {origin.kind} in {shape}, as it was given"
  if origin.operation == "constant":
    return f"a constant of the program, in {shape}"
  layers = ", ".join(f"layer {i + 1}" for i in origin.layers)
  return (
    f"{origin.module or 'the loss'}{layers and ', '}{layers}"
    f"{' (gradients)' if origin.backward else ''}: {origin.kind} by "
    f"`{origin.operation}`, {shape}"
  )


def _listed(names: Sequence[str]) -> str:
  rest = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
  return ", ".join(names[:_LISTED]) + rest
