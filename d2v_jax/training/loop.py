"""The loop: one for all modalities and objectives."""

import contextlib
import functools
import itertools
import json
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import jax
from etils import epath
from jax.experimental import multihost_utils

from d2v_jax import config as config_lib
from d2v_jax.training import checkpoint, health, metrics, provenance
from d2v_jax.training.build import RESUMABLE, Experiment
from d2v_jax.training.checkpoint_leaves import CheckpointMismatch
from d2v_jax.training.compiled_run import CompiledRun
from d2v_jax.training.state import TrainState

ITEMS = ("params", "teacher_params", "opt_state")


class Interrupted(Exception):
  """A signal came; the state is saved and the same command continues."""

  def __init__(self, step: int, signum: int) -> None:
    super().__init__(
      f"{signal.Signals(signum).name}: stopped after step {step}, and saved it"
    )
    self.signum = signum


def train(experiment: Experiment, workdir: epath.Path) -> None:
  """Trains to the end, from the newest valid checkpoint if there is one.

  Order of restoration: the newest valid checkpoint in the workdir, then the
  weights of config.init_from, then random values.

  Raises:
    Interrupted: after SIGTERM or SIGINT, with the state saved.
    health.UnhealthyRun: the run collapsed or diverged.
    ValueError: checkpoints exist but none is valid or they do not fit.
  """
  compiled = CompiledRun(experiment)
  terminal = metrics.Terminal(
    experiment.total_steps, quiet=jax.process_index() != 0
  )
  with config_lib.errors_at("config.checkpoints"):
    checkpoints = experiment.checkpoints(workdir / "checkpoints")
  with contextlib.closing(checkpoints):
    restored = checkpoints.restore(
      {name: getattr(compiled.abstract_state, name) for name in ITEMS},
      check=functools.partial(_check_resumable, experiment),
    )
    for path, reason in checkpoints.damaged:
      terminal.message(f"set aside a damaged checkpoint, {path}: {reason}")
    if restored is None:
      state, start = compiled.init_state(), 0
    else:
      start, items, _ = restored
      if start == experiment.total_steps:
        terminal.message(f"{workdir} is finished: step {start} of {start}")
        return
      state = compiled.state_at(start, items)
      terminal.message(f"continuing {workdir} from step {start}")
    if jax.process_index() == 0:
      provenance.record_start(workdir, experiment.config, start)
    _loop(compiled, state, start, workdir, checkpoints, terminal)


def evaluate(
  experiment: Experiment, workdir: epath.Path
) -> tuple[int, dict[str, float]]:
  """Runs the evaluators on the newest valid checkpoint of a run.

  Returns:
    (step, metrics); they are also written to evaluation.json.
  """
  compiled = CompiledRun(experiment)
  directory, target = workdir / "checkpoints", compiled.abstract_state
  step, params = checkpoint.load_item(directory, "params", target.params)
  _, teacher_params = checkpoint.load_item(
    directory, "teacher_params", target.teacher_params, step=step
  )
  results = compiled.evaluate(params, teacher_params)
  if jax.process_index() == 0:
    path = workdir / "evaluation.json"
    path.write_text(json.dumps({"step": step, **results}, indent=2) + "\n")
  return step, results


def _loop(
  compiled: CompiledRun,
  state: TrainState,
  start: int,
  workdir: epath.Path,
  checkpoints: checkpoint.Checkpoints,
  terminal: metrics.Terminal,
) -> None:
  run = compiled.experiment
  process = jax.process_index()
  corrupt = f"corrupt_files{process or ''}.txt"
  batches = run.batches(start_step=start, corrupt_log=workdir / corrupt)
  log = _Log(run, workdir, start, terminal)
  unread = None  # metrics of the step before, read while the next one runs
  with (
    contextlib.closing(batches),
    contextlib.closing(log),
    _stop_signals() as stop_signal,
    jax.transfer_guard("disallow"),
  ):
    if start == 0:
      log.evaluation(0, compiled.evaluate(state.params, state.teacher_params))
    for step in range(start + 1, run.total_steps + 1):
      batch = compiled.to_devices(next(batches))
      state, values = compiled.step(state, batch)
      if unread is not None:
        log.step(*unread)
      unread = step, values

      last, stop = step == run.total_steps, stop_signal()
      evaluate = last or _due(step, run.evaluation.every)
      save = last or stop or _due(step, run.checkpoint_every)
      if not (evaluate or save):
        continue
      # What is known about a step is on disk before its checkpoint is, so a
      # resumed run has nothing to repeat and nothing is missing.
      log.step(*unread)
      unread = None
      with log.pause():
        if evaluate:
          log.evaluation(
            step, compiled.evaluate(state.params, state.teacher_params)
          )
        log.flush()
        if save:
          items = {name: getattr(state, name) for name in ITEMS}
          checkpoints.save(step, items, _loop_item(run))
      if stop and not last:
        checkpoints.wait()
        raise Interrupted(step, stop)
    checkpoints.wait()


def _due(step: int, every: int) -> bool:
  return every > 0 and step % every == 0


class _Log:
  """One line of metrics.jsonl for each step that is logged or evaluated."""

  def __init__(
    self,
    run: Experiment,
    workdir: epath.Path,
    start: int,
    terminal: metrics.Terminal,
  ) -> None:
    self._run = run
    self._terminal = terminal
    self._monitor = health.Monitor(run.health)
    self._throughput = metrics.Throughput(run.batch_size)
    self._writer = None
    if jax.process_index() == 0:
      self._writer = metrics.Writer(workdir, start)
    self._step, self._line = 0, metrics.Values()
    self.pause = self._throughput.pause

  def step(self, step: int, values: dict[str, jax.Array]) -> None:
    """Judges the metrics of a step and logs them if it is their turn."""
    numbers = {k: float(v) for k, v in jax.device_get(values).items()}
    self._monitor.check(step, numbers)
    if _due(step, self._run.log_every) or step == self._run.total_steps:
      numbers["examples_per_sec"] = self._throughput.read(step)
      eta = self._throughput.eta(self._run.total_steps - step)
      self._terminal.progress(step, numbers, eta)
      self._add(step, numbers)
    self._throughput.begin(step)

  def evaluation(self, step: int, results: dict[str, float]) -> None:
    """Logs what evaluators measured after this step."""
    if results:
      self._terminal.evaluation(step, results)
      self._add(step, results)

  def _add(self, step: int, numbers: metrics.Values) -> None:
    if step != self._step:
      self.flush()
    self._step = step
    self._line |= numbers

  def flush(self) -> None:
    """Writes the line that is still open for more numbers of its step."""
    if self._line and self._writer is not None:
      self._writer.write(self._step, self._line)
    self._line = {}

  def close(self) -> None:
    """Writes what is left."""
    self._terminal.close()
    self.flush()
    if self._writer is not None:
      self._writer.close()


@contextlib.contextmanager
def _stop_signals() -> Iterator[Callable[[], int]]:
  """Yields what to ask after each step: the signal to stop by, or 0.

  With several processes all of them must stop after the same step; JAX's
  coordination service then agrees on it after a SIGTERM to any of them. It
  needs about a second.
  """
  several = jax.process_count() > 1
  # Not the number of the step: before the first call the service takes 0 for
  # it, and a resumed run would have the agreed number 1 behind it.
  calls = itertools.count(1)
  received: list[int] = []

  def handler(signum: int, frame: Any) -> None:
    if received:  # a second one does not wait
      raise KeyboardInterrupt
    received.append(signum)
    if several:
      os.kill(os.getpid(), signal.SIGTERM)  # JAX listens to this one only

  def stop() -> int:
    reached = multihost_utils.reached_preemption_sync_point
    if several and not reached(next(calls)):
      return 0
    return received[0] if received else several * signal.SIGTERM

  # JAX has a handler of its own for SIGTERM when there are several.
  handled = (signal.SIGINT,) if several else (signal.SIGINT, signal.SIGTERM)
  old = {s: signal.signal(s, handler) for s in handled}
  try:
    yield stop
  finally:
    for signum, previous in old.items():
      signal.signal(signum, previous)


def _loop_item(run: Experiment) -> dict[str, Any]:
  return {"config": _as_json(run.config), "num_examples": run.num_examples}


def _check_resumable(run: Experiment, loop: dict[str, Any]) -> None:
  lines = config_lib.differences(
    loop["config"], _as_json(run.config), RESUMABLE
  )
  if loop["num_examples"] != run.num_examples:
    lines.append(
      f"number of training examples: {loop['num_examples']} -> "
      f"{run.num_examples}"
    )
  if lines:
    raise CheckpointMismatch(
      "the workdir holds a run of another config, which cannot be continued "
      "with this one:\n  " + "\n  ".join(lines) + "\nUse the old values, or "
      "another --workdir; --config.init_from=OLD_WORKDIR starts a new run from "
      "the old one's weights."
    )


def _as_json(config: Any) -> Any:
  return json.loads(json.dumps(config))
