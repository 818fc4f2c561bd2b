"""Is the run alive? Collapse and non-finite losses stop it with an explanation.

Source: data2vec section 6 names the causes of collapse; the thresholds and the
statistics are the released speech code's, on for every modality here.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal

from d2v_jax.training.trouble.diagnoses import DIAGNOSES, seen
from d2v_jax.training.trouble.gradient_norms import GradientLimit
from d2v_jax.training.trouble.losses import Losses


class UnhealthyRun(RuntimeError):
  """The run has collapsed or diverged; the message says what to try.

  Args:
    message: what was seen.
    step: when.
  """

  def __init__(self, message: str, step: int) -> None:
    super().__init__(message)
    self.step = step


_OF_STEPS = 1000
_FINITE = ("loss", "grad_norm", "param_norm")
# So often a run's parts are measured, unless it says so.
_MEASURED = 20
# Measurements in a row that show the same before it is told.
_SHOWN = 2


@dataclasses.dataclass(frozen=True)
class Health:
  """Thresholds; see `Monitor`.

  Attributes:
    min_target_std: smallest healthy std of the targets over masked tokens.
    min_prediction_std: the same for the student's predictions.
    min_spread: smallest healthy spread of the feature encoder's tokens, see
      `parts`.
    every: updates between two measurements of the network's parts; 0: none is
      made, None: twenty in the run.
    patience: how many consecutive steps below a threshold stop the run.
    start_step: steps before this one are not judged for collapse: fresh
      networks have small outputs.
    on_bad_step: what a loss or a gradient that is not finite does, or one of a
      norm that is too large: 'skip' the step, which then changes nothing, or
      'stop' the run.
    max_gradient_ratio: how many times the mean of those before, of `patience`
      steps, the norm of a gradient may be; None: anything.
    max_loss_ratio: how many times its lowest mean over `patience` steps the
      loss may be, and above twice its first such mean, for `patience`
      consecutive steps, or how many times what it was in the first steps, when
      nothing was learned; None: it may explode.
    max_bad_steps: that are skipped of a thousand, be it in a row; one more
      stops the run.
    stall_minutes: without a step, or a batch of an evaluation, after which the
      run ends itself, to be started again; None: it waits.
  """

  min_target_std: float = 0.1
  min_prediction_std: float = 0.01
  min_spread: float = 0.01
  every: int | None = None
  patience: int = 100
  start_step: int = 1000
  on_bad_step: Literal["skip", "stop"] = "skip"
  max_gradient_ratio: float | None = None
  max_loss_ratio: float | None = 100.0
  max_bad_steps: int = 10
  stall_minutes: float | None = 30.0

  def __post_init__(self) -> None:
    for name, least in (
      ("min_target_std", 0),
      ("min_prediction_std", 0),
      ("min_spread", 0),
      ("patience", 1),
      ("start_step", 0),
      ("max_bad_steps", 1),
    ):
      if getattr(self, name) < least:
        raise ValueError(
          f"config.health.{name} must be {least} or more, got "
          f"{getattr(self, name)}."
        )
    if self.every is not None and self.every < 0:
      raise ValueError(
        "config.health.every must be 0 (never) or more, or None for twenty "
        f"measurements in the run; got {self.every}."
      )
    for name in ("max_loss_ratio", "max_gradient_ratio"):
      ratio = getattr(self, name)
      if ratio is not None and not ratio > 1:
        raise ValueError(
          f"config.health.{name} must be above 1, or None for no bound, got "
          f"{ratio}."
        )
    if self.stall_minutes is not None and not self.stall_minutes > 0:
      raise ValueError(
        "config.health.stall_minutes must be above 0, or None to wait however "
        f"long it takes; got {self.stall_minutes}."
      )

  def measures(self, step: int, total_steps: int) -> bool:
    """Whether parts are measured after so many of all updates."""
    every = self.every
    if every is None:
      every = -(-total_steps // _MEASURED)
    return every > 0 and (step % every == 0 or step == total_steps)

  @property
  def gradient_limit(self) -> GradientLimit | None:
    """Of the norms of gradients; None: there is none."""
    ratio = self.max_gradient_ratio
    return None if ratio is None else GradientLimit(ratio, self.patience)


def why_bad(metrics: Mapping[str, float]) -> str:
  """What is wrong with a step, as of its metrics; '' if nothing is.

  The loss is of the parameters before the step, the norms tell whether those
  after it may be saved.
  """
  for name in _FINITE:
    if not math.isfinite(metrics.get(name, 0.0)):
      return f"{name} is {metrics[name]}"
  norm = metrics.get("grad_norm", 0.0)
  limit = metrics.get("grad_norm_limit", math.inf)
  if norm > limit:
    return (
      f"grad_norm is {norm:.4g}, and {limit:.4g} is "
      "config.health.max_gradient_ratio times its mean"
    )
  return ""


class Monitor:
  """Judges the metrics of every step.

  Args:
    health: thresholds.
    state: what `state` gave when the run was saved; None at its beginning.
    forgiven: what has been low since this step or an earlier one counts anew.
  """

  def __init__(
    self,
    health: Health,
    state: dict[str, Any] | None = None,
    forgiven: int = -1,
  ) -> None:
    state = state or {
      "low_since": {},
      "healthy_checkpoint": None,
      "bad": [],
      "losses": [],
    }
    self._health = health
    self._low_since: dict[str, int] = {
      name: step for name, step in state["low_since"].items() if step > forgiven
    }
    self._healthy: int | None = state["healthy_checkpoint"]
    self._losses = Losses(health.patience, *state["losses"])
    self._bad: list[int] = [step for step in state["bad"] if step > forgiven]
    # Name -> step since which measurements show it, and how many do.
    self._shown: dict[str, list[int]] = {
      name: list(found)
      for name, found in state.get("shown", {}).items()
      if found[0] > forgiven
    }

  @property
  def state(self) -> dict[str, Any]:
    """What a run that goes on must know, as JSON can hold it."""
    return {
      "low_since": dict(self._low_since),
      "healthy_checkpoint": self._healthy,
      "bad": list(self._bad),
      "losses": list(dataclasses.astuple(self._losses))[1:],
      "shown": dict(self._shown),
    }

  @property
  def healthy_checkpoint(self) -> int | None:
    """Step of the last checkpoint with which nothing was wrong."""
    return self._healthy

  @property
  def bad_step(self) -> int | None:
    """The last step that was skipped."""
    return self._bad[-1] if self._bad else None

  def saving(self, step: int) -> None:
    """Notes that a step which has been checked becomes a checkpoint."""
    stops = any(DIAGNOSES[name].stops for name in self._shown)
    # What a step that was skipped follows may be why it had to be.
    if not (self._low_since or stops or step in self._bad):
      self._healthy = step

  def check(self, step: int, metrics: dict[str, float]) -> None:
    """Raises UnhealthyRun if the run should not go on.

    Args:
      step: completed updates.
      metrics: values of this step: those that `why_bad` asks for, `skipped`,
        `target_std` and `prediction_std`, as far as they are there.
    """
    health, why = self._health, why_bad(metrics)
    if metrics.get("skipped"):
      self._skipped(step, why)
      return
    if why:
      raise UnhealthyRun(
        f"{why} at step {step}. {DIAGNOSES['divergence']}", step
      )
    if "loss" in metrics:
      self._check_explosion(
        step, metrics["loss"], metrics.get("target_std", 0.0)
      )
    if step < health.start_step:
      return
    for name, threshold, diagnosis in (
      ("target_std", health.min_target_std, "teacher"),
      ("prediction_std", health.min_prediction_std, "student"),
    ):
      # A NaN is not above the threshold either.
      if name not in metrics or metrics[name] >= threshold:
        self._low_since.pop(name, None)
        continue
      since = self._low_since.setdefault(name, step)
      if step - since + 1 >= health.patience:
        raise UnhealthyRun(
          f"{name} is {metrics[name]:.4g} at step {step} and has been below "
          f"{threshold} since step {since}. {DIAGNOSES[diagnosis]} "
          f"(The threshold is config.health.min_{name}.)",
          step,
        )

  def measured(
    self, step: int, values: Mapping[str, float]
  ) -> tuple[dict[str, float], list[str]]:
    """Judges what was measured of the network's parts after a step.

    Args:
      step: completed updates, which `check` has judged.
      values: from `Parts`.

    Returns:
      `health/verdict/NAME` -> since which step, for the log, of what holds; and
      what is to be told: each once when it begins, and when it is over.

    Raises:
      UnhealthyRun: it is something that stops a run.
    """
    health = self._health
    found = seen(values, step, health.start_step, health.min_spread)
    over = [k for k, (_, n) in self._shown.items() if n >= _SHOWN]
    lines = [
      f"verdict: no longer {DIAGNOSES[name].name}, at step {step}"
      for name in over
      if name not in found
    ]
    self._shown = {
      name: [since, count + 1]
      for name in found
      for since, count in [self._shown.get(name, [step, 0])]
    }
    holds = {}
    for name, (since, count) in self._shown.items():
      if count < _SHOWN:
        continue
      holds[f"health/verdict/{name}"] = float(since)
      told = (
        f"{found[name]}, at step {step}, since step {since}. {DIAGNOSES[name]}"
      )
      if DIAGNOSES[name].stops:
        raise UnhealthyRun(told, step)
      if count == _SHOWN:
        lines.append(f"verdict: {told}")
    return holds, lines

  def _check_explosion(self, step: int, loss: float, target_std: float) -> None:
    losses, ratio = self._losses, self._health.max_loss_ratio
    losses.add(loss, target_std)
    above = "" if ratio is None else losses.above(loss, target_std, ratio)
    if not above:
      losses.calm += 1
      # A few lower ones on the way are no recovery.
      if losses.calm > self._health.patience // 10:
        self._low_since.pop("loss", None)
      return
    if "loss" not in self._low_since:
      self._low_since["loss"], losses.high = step, 0
    losses.high, losses.calm = losses.high + 1, 0
    if losses.high >= self._health.patience:
      since = self._low_since["loss"]
      raise UnhealthyRun(
        f"loss is {loss:.4g} at step {step} and has been above {ratio:g} times "
        f"{above}, since step {since}. "
        f"{DIAGNOSES['divergence']} (The ratio is "
        "config.health.max_loss_ratio.)",
        step,
      )

  def _skipped(self, step: int, why: str) -> None:
    self._bad = [x for x in self._bad if x > step - _OF_STEPS] + [step]
    if len(self._bad) > self._health.max_bad_steps:
      raise UnhealthyRun(
        f"{len(self._bad)} of the last {_OF_STEPS} steps had to be skipped, "
        f"the last of them step {step}: {why}. "
        f"{DIAGNOSES['divergence']} What they were made of is in bad_steps/. "
        "(The number is config.health.max_bad_steps.)",
        step,
      )
