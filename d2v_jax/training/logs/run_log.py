"""What the loop writes about a run: its metrics, in order."""

import collections
import math

import jax
import numpy as np
from etils import epath

from d2v_jax.data.pipeline import Batch
from d2v_jax.training.experiment import Experiment
from d2v_jax.training.feed import Feed
from d2v_jax.training.logs import device_peaks, loggers, metrics
from d2v_jax.training.logs.input_wait import InputWatch
from d2v_jax.training.logs.throughput import Throughput
from d2v_jax.training.trouble import bad_steps, health
from d2v_jax.training.workdir.lease import SharedLease
from d2v_jax.training.workdir.together import from_process_0

_AROUND = 20  # steps


def due(step: int, every: int) -> bool:
  """Whether it is the turn of what happens every so many steps; 0: never."""
  return every > 0 and step % every == 0


def owes_evaluation(run: Experiment, workdir: epath.Path, step: int) -> bool:
  """Whether the evaluation of a step that was saved was not made to its end."""
  if not run.evaluation.evaluators:
    return False
  if step and step != run.total_steps and not due(step, run.evaluation.every):
    return False
  names = {name.partition("/")[0] for name in metrics.at(workdir, step)}
  owes = names.isdisjoint(run.evaluation.evaluators)
  return bool(from_process_0(int(owes)))


class RunLog:
  """One line of metrics.jsonl for each step that is logged or evaluated.

  Args:
    run: what runs.
    workdir: where.
    start: step that it goes on from.
    terminal: where progress is shown.
    feed: of batches.
    lease: of the workdir.
    monitor: judges each step.
    unevaluated: whether the evaluation of `start` is still to be made.
  """

  def __init__(
    self,
    run: Experiment,
    workdir: epath.Path,
    start: int,
    terminal: metrics.Terminal,
    feed: Feed,
    lease: SharedLease,
    monitor: health.Monitor,
    unevaluated: bool = False,
  ) -> None:
    self._lease = lease
    self._run = run
    self._terminal = terminal
    self._feed = feed
    self._monitor = monitor
    self._workdir = workdir
    # Metrics of the steps before, for one that is skipped.
    self._newest: collections.deque[metrics.Values] = collections.deque(
      maxlen=_AROUND
    )
    self._throughput = Throughput(run.batch_size, _peak(run.mesh))
    self._input = InputWatch(run.dataset)
    self._writer: metrics.Writer | None = None
    self._logger: loggers.Logger | None = None
    self._step, self._line = start, metrics.Values()
    if jax.process_index() == 0:
      self._writer = metrics.Writer(
        workdir, start, terminal.message, reopen=unevaluated
      )
      self._line = self._writer.reopened
      self._logger = loggers.opened(
        run.logger, workdir, start, run.config, terminal.message
      )
    self.pause = self._throughput.pause

  def step(
    self,
    step: int,
    values: dict[str, jax.Array],
    operations: float,
    batch: Batch,
    records: np.ndarray,
  ) -> None:
    """Judges the metrics of a step and logs them if it is their turn.

    Args:
      step: its number.
      values: its metrics.
      operations: that it took.
      batch: this process's part of what it was made of.
      records: indices of the examples in it.
    """
    numbers = {k: float(v) for k, v in jax.device_get(values).items()}
    self._newest.append({"step": step, **numbers})
    if why := health.why_bad(numbers):
      self._keep(step, numbers, batch, records, why)
    self._monitor.check(step, numbers)
    self._throughput.add(operations)
    if due(step, self._run.log_every) or step == self._run.total_steps:
      warning = None
      if speed := self._throughput.read(step, self._feed.waited):
        numbers |= speed.metrics()
        warning = self._input.check(
          speed.input_wait, speed.seconds, self._feed.times
        )
      numbers |= self._shares(step)
      eta = self._throughput.eta(self._run.total_steps - step)
      self._terminal.progress(step, numbers, eta)
      if warning:
        self._terminal.message(warning)
      self._add(step, numbers)
    self._throughput.begin(step, self._feed.waited)

  def _keep(
    self,
    step: int,
    numbers: metrics.Values,
    batch: Batch,
    records: np.ndarray,
    why: str,
  ) -> None:
    """Keeps what a bad step was made of, and says so."""
    folder = bad_steps.keep(
      self._workdir,
      step,
      batch,
      self._feed.names(records),
      self._newest,
      self._run.config,
      why,
    )
    what = "skipped step" if numbers.get("skipped") else "step"
    self._terminal.message(
      f"{what} {step}: {why}; what it was made of is in {folder}"
    )

  def evaluation(self, step: int, results: dict[str, float]) -> None:
    """Logs what evaluators measured after this step."""
    if results:
      self._terminal.evaluation(step, results)
      self._add(step, results)

  def parts(self, step: int, measured: dict[str, float]) -> None:
    """Judges and logs what was measured of the network after this step."""
    holds, told = self._monitor.measured(step, measured)
    for line in told:
      self._terminal.message(line)
    self._add(step, measured | holds)

  def _shares(self, step: int) -> metrics.Values:
    """Of a mixture's sources, in the steps since one was logged.

    Those before a run was continued count, too, so that a line is the same.
    """
    if self._feed.mixed is None:
      return {}
    every = self._run.log_every
    return self._feed.mixed.shares((step - 1) // every * every, step)

  def _add(self, step: int, numbers: metrics.Values) -> None:
    if step != self._step:
      self.flush()
    self._step = step
    self._line |= numbers

  def flush(self) -> None:
    """Writes the line that is still open for more numbers of its step."""
    # What another run owns now is not written to.
    if self._line and self._writer is not None and not self._lease.lost:
      self._writer.write(self._step, self._line)
      if self._logger is not None:
        self._logger.log(self._step, self._line)
    self._line = {}

  def close(self) -> None:
    """Writes what is left."""
    self._terminal.close()
    self.flush()
    if self._logger is not None:
      self._logger.close()


def _peak(mesh: jax.sharding.Mesh) -> float:
  """Operations per second of all devices together; NaN: not known."""
  peaks = device_peaks.peaks(mesh.devices.flat[0].device_kind)
  return peaks.flops * mesh.size if peaks else math.nan
