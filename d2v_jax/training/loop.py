"""The loop: one for all modalities and objectives."""

import contextlib
import functools
import sys
from typing import Any

import jax
from etils import epath

from d2v_jax import config as config_lib
from d2v_jax.data.checking import first_look, opening
from d2v_jax.data.dataset import EVALUATION
from d2v_jax.training import resuming
from d2v_jax.training.checkpoints import (
  checkpoint,
  checkpoint_files,
  stored_items,
)
from d2v_jax.training.compiled_run import CompiledRun
from d2v_jax.training.experiment import Experiment
from d2v_jax.training.feed import Feed
from d2v_jax.training.logs import loggers, metrics
from d2v_jax.training.logs.profile import Profiler
from d2v_jax.training.logs.run_log import RunLog, due, owes_evaluation
from d2v_jax.training.programs import Programs
from d2v_jax.training.start import Start
from d2v_jax.training.state import TrainState
from d2v_jax.training.trouble import health, stall, verdict
from d2v_jax.training.trouble.stop_signals import (
  Interrupted,
  StopEvaluation,
  stop_signals,
)
from d2v_jax.training.workdir import lease as lease_lib
from d2v_jax.training.workdir import provenance

ITEMS = ("params", "teacher_params", "opt_state")


def train(
  experiment: Experiment, workdir: epath.Path, start: Start | None = None
) -> bool:
  """Trains to the end, from the newest valid checkpoint if there is one.

  Order of restoration: the newest valid checkpoint in the workdir, then the
  weights of config.init_from, then random values.

  Returns:
    Whether there was something to do: the run was not finished before.

  Raises:
    Interrupted: after SIGTERM or SIGINT, with the state saved.
    health.UnhealthyRun: the run collapsed or diverged.
    lease.InUse: another run owns the workdir.
    ConfigError: the library of config.logger is not installed.
    ValueError: checkpoints exist but none is valid or they do not fit.
  """
  asked = start or Start()
  if jax.process_index() == 0:
    loggers.check(experiment.logger)
  terminal = metrics.Terminal(
    experiment.total_steps, quiet=jax.process_index() != 0
  )
  # Before anything is touched: what a killed save has left is removed when
  # checkpoints are opened, and that of a run that lives looks the same.
  with lease_lib.owned(
    workdir, asked.lease_seconds, asked.takeover, terminal.message
  ) as lease:
    return _train(experiment, workdir, terminal, lease, asked)


def _train(
  experiment: Experiment,
  workdir: epath.Path,
  terminal: metrics.Terminal,
  lease: lease_lib.SharedLease,
  asked: Start,
) -> bool:
  compiled = CompiledRun(experiment)
  with config_lib.errors_at("config.checkpoints"):
    checkpoints = experiment.checkpoints(workdir / "checkpoints")
  with contextlib.closing(checkpoints):
    forgiven = verdict.require_change(
      workdir,
      experiment,
      asked.ignore_verdict,
      max(checkpoints.steps(), default=0),
    )
    rewind = resuming.rewind(experiment, checkpoints, asked)
    restored = checkpoints.restore(
      {name: getattr(compiled.abstract_state, name) for name in ITEMS},
      check=functools.partial(resuming.check, experiment, asked),
      rewind=rewind,
    )
    for path, reason in checkpoints.damaged:
      terminal.message(f"set aside a damaged checkpoint, {path}: {reason}")
    notes: dict[str, Any] = {}
    loop: dict[str, Any] = {}
    if restored is None:
      if jax.process_index() == 0:
        _look_at_data(experiment, terminal)
      state, start = compiled.init_state(), 0
    else:
      start, items, loop = restored
      if start == experiment.total_steps and not owes_evaluation(
        experiment, workdir, start
      ):
        terminal.message(f"{workdir} is finished: step {start} of {start}")
        return False
      state = compiled.state_at(start, items, loop.get("gradient_norms"))
      notes = resuming.notes(experiment, loop, rewind)
      for line in (f"{k}: {v}" for k, v in notes.items()):
        terminal.message(line)
      if rewind is not None:
        loop = {**loop, "rewound_to": rewind}
      terminal.message(f"continuing {workdir} from step {start}")
      if experiment.profile is not None and experiment.profile.start <= start:
        terminal.message(
          f"step {experiment.profile.start} of config.profile is over; there "
          "will be no trace"
        )
    if jax.process_index() == 0:
      if rewind is not None:
        metrics.keep_a_copy(workdir, workdir / checkpoint.REWOUND)
      provenance.record_start(
        workdir, experiment.config, start, terminal.message, notes
      )
    monitor = health.Monitor(experiment.health, loop.get("health"), forgiven)
    try:
      _loop(
        compiled,
        state,
        start,
        workdir,
        checkpoints,
        terminal,
        lease,
        monitor,
        loop.get("rewound_to"),
      )
    except health.UnhealthyRun as e:
      verdict.record(workdir, experiment, e.step, str(e))
      kept = verdict.kept(checkpoints, monitor.healthy_checkpoint)
      raise health.UnhealthyRun(f"{e} {kept}", e.step) from None
  return True


def evaluate(
  experiment: Experiment, workdir: epath.Path
) -> tuple[int, dict[str, float]]:
  """Runs the evaluators on the newest valid checkpoint of a run.

  Returns:
    (step, metrics); they are also written to evaluation.json.
  """
  compiled = CompiledRun(experiment)
  step, params, teacher_params = _newest_weights(
    workdir / "checkpoints", compiled.abstract_state
  )
  # What is printed to stdout is JSON.
  terminal = metrics.Terminal(
    experiment.total_steps, sys.stderr, quiet=jax.process_index() != 0
  )
  results = compiled.evaluate(params, teacher_params, tell=terminal.activity)
  terminal.close()
  provenance.record_evaluation(workdir, step, results)
  for line in compiled.references(workdir).lines(results):
    terminal.message(line)
  return step, results


def _newest_weights(
  directory: epath.Path, target: TrainState
) -> tuple[int, Any, Any]:
  """Step, student and teacher of the newest checkpoint that can be read."""
  while True:
    step, params = stored_items.load_item(directory, "params", target.params)
    try:
      _, teacher_params = stored_items.load_item(
        directory, "teacher_params", target.teacher_params, step=step
      )
    except ValueError:
      if step in checkpoint_files.steps_on_disk(directory):
        raise
      continue  # a run that goes on has removed it, and has a newer one
    return step, params, teacher_params


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
  lease: lease_lib.SharedLease,
  monitor: health.Monitor,
  rewound_to: int | None,
) -> None:
  run = compiled.experiment
  process = jax.process_index()
  corrupt = f"corrupt_files{process or ''}.txt"
  programs = Programs(compiled.step, compiled.abstract_state)
  programs.prepare(run.batch_kinds, terminal.message)
  feed = Feed(run.batches(start_step=start, corrupt_log=workdir / corrupt))
  if feed.mixed is not None:
    terminal.message(feed.mixed.described())
  owes = start == 0 or owes_evaluation(run, workdir, start)
  log = RunLog(
    run, workdir, start, terminal, feed, lease, monitor, unevaluated=owes
  )
  profiler = Profiler(run.profile, workdir, log.pause)
  watch = stall.StallWatch(run.health.stall_minutes, workdir, feed.stacks)
  references = compiled.references(workdir)
  results: metrics.Values = {}
  unread = None  # metrics of the step before, read while the next one runs
  with (
    contextlib.closing(feed),
    contextlib.closing(log),
    contextlib.closing(profiler),
    contextlib.closing(watch),
    stop_signals(lambda: lease.lost) as stop_signal,
    jax.transfer_guard("disallow"),
  ):

    def between() -> None:
      watch.moved()
      if signum := stop_signal():
        raise StopEvaluation(signum)

    def evaluated(step: int, state: TrainState) -> int:
      """Returns the signal that came before it was done, or 0."""
      nonlocal results
      trees = state.params, state.teacher_params
      # What evaluators compute of all features may take long.
      with watch.paused():
        try:
          results = compiled.evaluate(
            *trees, between, watch.resumed, terminal.activity
          )
        except StopEvaluation as e:
          return e.signum
        log.evaluation(step, results)
        if step == 0 and not run.init_from:
          references.begun(results)
      return 0

    if owes and (stop := evaluated(start, state)):
      raise Interrupted(start, stop, saved=False)
    for step in range(start + 1, run.total_steps + 1):
      checkpoints.check()
      with watch.waiting(stall.INPUT):
        host_batch = next(feed)
      batch = compiled.to_devices(host_batch)
      with profiler.step(step, unread):
        state, values = programs(state, batch)
      feed.busy_with(values)
      profiler.begun(step, values)
      if unread is not None:
        log.step(*unread)
        watch.moved()
      operations = programs.operations(batch)
      unread = step, values, operations, host_batch, feed.records

      last, stop = step == run.total_steps, stop_signal()
      evaluate = run.evaluation.evaluators and (
        last or due(step, run.evaluation.every)
      )
      save = last or stop or due(step, run.checkpoint_every)
      measure = run.health.measures(step, run.total_steps)
      if not (evaluate or save or measure):
        continue
      # What is known about a step is on disk before its checkpoint is, so a
      # resumed run has nothing to repeat and nothing is missing.
      log.step(*unread)
      unread = None
      with log.pause():
        if measure:
          # The first time it is compiled, too.
          terminal.activity("measuring the parts of the network")
          with watch.paused():
            trees = state.params, state.teacher_params
            log.parts(step, compiled.parts(*trees, host_batch))
        # A run that goes on makes up for an evaluation that was cut off.
        if evaluate:
          stop = cut_off = stop or evaluated(step, state)
        else:
          cut_off = 0
        if save or stop:
          lease.require()
        log.flush()
        if save or stop:
          monitor.saving(step)
          checkpoints.protect(monitor.healthy_checkpoint, monitor.bad_step)
          items = {name: getattr(state, name) for name in ITEMS}
          memory = resuming.remembered(run, monitor.state, rewound_to, state)
          with watch.waiting(stall.STORAGE):
            checkpoints.save(step, items, memory)
      watch.moved()
      if cut_off or (stop and not last):
        with watch.waiting(stall.STORAGE):
          checkpoints.wait()
        raise Interrupted(step, stop)
    with watch.waiting(stall.STORAGE):
      checkpoints.wait()
  for line in references.lines(results):
    terminal.message(line)
