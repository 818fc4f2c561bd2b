"""What the loop writes about a run: its metrics, in order."""

import math

import jax
from etils import epath

from d2v_jax.training import device_peaks, health, metrics
from d2v_jax.training.build import Experiment
from d2v_jax.training.feed import Feed
from d2v_jax.training.input_wait import InputWatch
from d2v_jax.training.throughput import Throughput


def due(step: int, every: int) -> bool:
  """Whether it is the turn of what happens every so many steps; 0: never."""
  return every > 0 and step % every == 0


class RunLog:
  """One line of metrics.jsonl for each step that is logged or evaluated."""

  def __init__(
    self,
    run: Experiment,
    workdir: epath.Path,
    start: int,
    terminal: metrics.Terminal,
    feed: Feed,
  ) -> None:
    self._run = run
    self._terminal = terminal
    self._feed = feed
    self._monitor = health.Monitor(run.health)
    self._throughput = Throughput(run.batch_size, _peak(run.mesh))
    self._input = InputWatch(run.dataset)
    self._writer = None
    if jax.process_index() == 0:
      self._writer = metrics.Writer(workdir, start)
    self._step, self._line = 0, metrics.Values()
    self.pause = self._throughput.pause

  def step(
    self, step: int, values: dict[str, jax.Array], operations: float
  ) -> None:
    """Judges the metrics of a step and logs them if it is their turn.

    Args:
      step: its number.
      values: its metrics.
      operations: that it took.
    """
    numbers = {k: float(v) for k, v in jax.device_get(values).items()}
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

  def evaluation(self, step: int, results: dict[str, float]) -> None:
    """Logs what evaluators measured after this step."""
    if results:
      self._terminal.evaluation(step, results)
      self._add(step, results)

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
    if self._line and self._writer is not None:
      self._writer.write(self._step, self._line)
    self._line = {}

  def close(self) -> None:
    """Writes what is left."""
    self._terminal.close()
    self.flush()
    if self._writer is not None:
      self._writer.close()


def _peak(mesh: jax.sharding.Mesh) -> float:
  """Operations per second of all devices together; NaN: not known."""
  peaks = device_peaks.peaks(mesh.devices.flat[0].device_kind)
  return peaks.flops * mesh.size if peaks else math.nan
