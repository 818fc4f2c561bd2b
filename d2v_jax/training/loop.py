"""The loop: one for all modalities and objectives."""

import contextlib
import functools
import json
import sys
from typing import Any

import jax
from etils import epath

from d2v_jax import config as config_lib
from d2v_jax.data.checking import first_look, opening
from d2v_jax.data.dataset import EVALUATION
from d2v_jax.training import checkpoint, metrics, provenance
from d2v_jax.training.build import RESUMABLE, Experiment
from d2v_jax.training.checkpoint_leaves import CheckpointMismatch
from d2v_jax.training.compiled_run import CompiledRun
from d2v_jax.training.feed import Feed
from d2v_jax.training.profile import Profiler
from d2v_jax.training.programs import Programs
from d2v_jax.training.run_log import RunLog, due
from d2v_jax.training.state import TrainState
from d2v_jax.training.stop_signals import Interrupted, stop_signals

ITEMS = ("params", "teacher_params", "opt_state")


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
      if jax.process_index() == 0:
        _look_at_data(experiment, terminal)
      state, start = compiled.init_state(), 0
    else:
      start, items, _ = restored
      if start == experiment.total_steps:
        terminal.message(f"{workdir} is finished: step {start} of {start}")
        return
      state = compiled.state_at(start, items)
      terminal.message(f"continuing {workdir} from step {start}")
      if experiment.profile is not None and experiment.profile.start <= start:
        terminal.message(
          f"step {experiment.profile.start} of config.profile is over; there "
          "will be no trace"
        )
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
  # What is printed to stdout is JSON.
  terminal = metrics.Terminal(
    experiment.total_steps, sys.stderr, quiet=jax.process_index() != 0
  )
  for line in compiled.references(workdir).lines(results):
    terminal.message(line)
  return step, results


def _look_at_data(experiment: Experiment, terminal: metrics.Terminal) -> None:
  measured = experiment.evaluation.records
  first_look.look_at(
    experiment.dataset,
    {
      opening.TRAINING: experiment.records,
      **{f"{EVALUATION}.{split}": x for split, x in measured.items()},
    },
    terminal.message,
  )


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
  programs = Programs(compiled.step, compiled.abstract_state)
  programs.prepare(run.batch_kinds, terminal.message)
  feed = Feed(run.batches(start_step=start, corrupt_log=workdir / corrupt))
  if feed.mixed is not None:
    terminal.message(feed.mixed.described())
  log = RunLog(run, workdir, start, terminal, feed)
  profiler = Profiler(run.profile, workdir, log.pause)
  references = compiled.references(workdir)
  results: metrics.Values = {}
  unread = None  # metrics of the step before, read while the next one runs
  with (
    contextlib.closing(feed),
    contextlib.closing(log),
    contextlib.closing(profiler),
    stop_signals() as stop_signal,
    jax.transfer_guard("disallow"),
  ):
    if start == 0:
      results = compiled.evaluate(state.params, state.teacher_params)
      log.evaluation(0, results)
      if not run.init_from:
        references.begun(results)
    for step in range(start + 1, run.total_steps + 1):
      batch = compiled.to_devices(next(feed))
      with profiler.step(step, unread):
        state, values = programs(state, batch)
      feed.busy_with(values)
      profiler.begun(step, values)
      if unread is not None:
        log.step(*unread)
      unread = step, values, programs.operations(batch)

      last, stop = step == run.total_steps, stop_signal()
      evaluate = last or due(step, run.evaluation.every)
      save = last or stop or due(step, run.checkpoint_every)
      if not (evaluate or save):
        continue
      # What is known about a step is on disk before its checkpoint is, so a
      # resumed run has nothing to repeat and nothing is missing.
      log.step(*unread)
      unread = None
      with log.pause():
        if evaluate:
          results = compiled.evaluate(state.params, state.teacher_params)
          log.evaluation(step, results)
        log.flush()
        if save:
          items = {name: getattr(state, name) for name in ITEMS}
          checkpoints.save(step, items, _loop_item(run))
      if stop and not last:
        checkpoints.wait()
        raise Interrupted(step, stop)
    checkpoints.wait()
  for line in references.lines(results):
    terminal.message(line)


def _loop_item(run: Experiment) -> dict[str, Any]:
  return {
    "config": _as_json(run.config),
    "num_examples": run.num_examples,
    "identity": run.identity,
  }


def _check_resumable(run: Experiment, loop: dict[str, Any]) -> None:
  lines = config_lib.differences(
    loop["config"], _as_json(run.config), RESUMABLE
  )
  lines += config_lib.differences(
    {"number of training examples": loop["num_examples"], **loop["identity"]},
    {"number of training examples": run.num_examples, **run.identity},
    (),
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
