"""Learning rates: a linear warm-up, a plateau, and a decay to a last rate.

All schedules share these arguments:

  peak: the rate after the warm-up; the others lie between 0 and it.
  total_steps: updates of the run.
  warmup_steps: updates that lead from the start rate to the peak.
  hold_steps: updates at the peak after that.
  decay_steps: updates that lead from the peak to the last rate; None takes all
    that are left of the run. After a shorter decay the last rate stays; a
    longer one is cut off by the end of the run.

The first update uses the rate at step 0, which is the start rate: 0 wastes that
update, as in the reference. (The teacher's decay: `objectives.ema`.)
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

Schedule = Callable[[jax.Array], jax.Array]


def cosine(
  *,
  peak: float,
  total_steps: int,
  warmup_steps: int = 0,
  hold_steps: int = 0,
  decay_steps: int | None = None,
  start: float = 0.0,
  final: float = 0.0,
) -> Schedule:
  """Warm-up, plateau, and half a period of the cosine.

  (fairseq: hold_steps = 0. The released vision code reaches the peak one step
  earlier: its W warm-up steps are warmup_steps = W - 1, hold_steps = 1.)

  Args:
    peak: rate after the warm-up.
    total_steps: updates of the run.
    warmup_steps: updates from start to peak.
    hold_steps: updates at the peak.
    decay_steps: updates from peak to final; None: all that are left.
    start: rate of the first update.
    final: rate after the decay.

  Returns:
    Update number -> rate.

  Raises:
    ValueError: a rate or a number of steps is outside its range.

  Source: SGDR, arXiv 1608.03983, equation 5, without restarts.
  """
  _check_rates("cosine", peak, start=start, final=final)
  decay_from, decay_steps = _phases(
    "cosine", total_steps, warmup_steps, hold_steps, decay_steps
  )

  def schedule(step):
    progress = (step - decay_from) / max(decay_steps, 1)
    cos = jnp.cos(math.pi * jnp.clip(progress, 0.0, 1.0))
    decayed = final + 0.5 * (peak - final) * (1.0 + cos)
    return jnp.where(
      step < warmup_steps, _warmup(step, start, peak, warmup_steps), decayed
    )

  return schedule


def tri_stage(
  *,
  peak: float,
  total_steps: int,
  warmup_steps: int,
  hold_steps: int,
  decay_steps: int | None = None,
  start_scale: float = 0.01,
  final_scale: float = 0.01,
) -> Schedule:
  """Warm-up, plateau, and an exponential decay.

  Args:
    peak: rate after the warm-up.
    total_steps: updates of the run.
    warmup_steps: updates from start_scale * peak to peak.
    hold_steps: updates at the peak.
    decay_steps: updates from peak to final_scale * peak; None: all that are
      left.
    start_scale: share of the peak that the first update uses.
    final_scale: share of the peak after the decay, above 0.

  Returns:
    Update number -> rate.

  Raises:
    ValueError: a rate or a number of steps is outside its range.

  Source: released speech code. (The paper calls the last phase linear: that is
  `linear` with hold_steps.)
  """
  _check_rates("tri_stage", peak)
  if not 0 <= start_scale <= 1:
    raise ValueError(
      f"tri_stage: start_scale must be in [0, 1], got {start_scale}."
    )
  if not 0 < final_scale <= 1:
    raise ValueError(
      f"tri_stage: final_scale must be in (0, 1], got {final_scale}."
    )
  decay_from, decay_steps = _phases(
    "tri_stage", total_steps, warmup_steps, hold_steps, decay_steps
  )

  def schedule(step):
    progress = (step - decay_from) / max(decay_steps, 1)
    progress = jnp.clip(progress, 0.0, 1.0)
    warm = _warmup(step, start_scale * peak, peak, warmup_steps)
    decayed = peak * final_scale**progress
    return jnp.where(step < warmup_steps, warm, decayed)

  return schedule


def polynomial(
  *,
  peak: float,
  total_steps: int,
  warmup_steps: int = 0,
  hold_steps: int = 0,
  decay_steps: int | None = None,
  start: float = 0.0,
  final: float = 0.0,
  power: float,
) -> Schedule:
  """Warm-up, plateau, and a power of the share of the decay that is left.

  The rate is final + (peak - final) * (1 - n / decay_steps)**power after n
  updates of the decay.

  Args:
    peak: rate after the warm-up.
    total_steps: updates of the run.
    warmup_steps: updates from start to peak.
    hold_steps: updates at the peak.
    decay_steps: updates from peak to final; None: all that are left.
    start: rate of the first update.
    final: rate after the decay.
    power: above 0; above 1 the rate falls fast at first, below 1 at the end.

  Returns:
    Update number -> rate.

  Raises:
    ValueError: a rate, a number of steps or the power is outside its range.

  Source: fairseq's polynomial decay.
  """
  _check_rates("polynomial", peak, start=start, final=final)
  if power <= 0:
    raise ValueError(f"polynomial: power must be above 0, got {power}.")
  decay_from, decay_steps = _phases(
    "polynomial", total_steps, warmup_steps, hold_steps, decay_steps
  )

  def schedule(step):
    left = (decay_from + decay_steps - step) / max(decay_steps, 1)
    left = jnp.clip(left, 0.0, 1.0)
    decayed = final + (peak - final) * (left if power == 1 else left**power)
    return jnp.where(
      step < warmup_steps, _warmup(step, start, peak, warmup_steps), decayed
    )

  return schedule


def linear(
  *,
  peak: float,
  total_steps: int,
  warmup_steps: int = 0,
  hold_steps: int = 0,
  decay_steps: int | None = None,
  start: float = 0.0,
  final: float = 0.0,
) -> Schedule:
  """Warm-up, plateau, and a linear decay: `polynomial` with power 1.

  Source: the released text code's fine-tuning.
  """
  return polynomial(
    peak=peak,
    total_steps=total_steps,
    warmup_steps=warmup_steps,
    hold_steps=hold_steps,
    decay_steps=decay_steps,
    start=start,
    final=final,
    power=1.0,
  )


def constant(
  *, peak: float, total_steps: int, warmup_steps: int = 0, start: float = 0.0
) -> Schedule:
  """Warm-up from the rate `start`, then the peak rate."""
  _check_rates("constant", peak, start=start)
  _phases("constant", total_steps, warmup_steps, 0, None)

  def schedule(step):
    warm = _warmup(step, start, peak, warmup_steps)
    return jnp.where(step < warmup_steps, warm, peak)

  return schedule


SCHEDULES: dict[str, Callable[..., Schedule]] = {
  "cosine": cosine,
  "tri_stage": tri_stage,
  "linear": linear,
  "polynomial": polynomial,
  "constant": constant,
}


def _warmup(step, start, peak, steps):
  return start + (peak - start) * step / max(steps, 1)


def _check_rates(name: str, peak: float, **others: float) -> None:
  if peak < 0:
    raise ValueError(f"{name}: peak must be 0 or more, got {peak}.")
  for field, rate in others.items():
    if not 0 <= rate <= peak:
      raise ValueError(
        f"{name}: {field} must be between 0 and peak={peak}, got {rate}."
      )


def _phases(
  name: str, total: int, warmup: int, hold: int, decay: int | None
) -> tuple[int, int]:
  """Returns the step at which the decay begins, and its length."""
  if min(total, warmup, hold) < 0 or warmup + hold > total:
    raise ValueError(
      f"{name}: warmup_steps {warmup} + hold_steps {hold} do not fit into "
      f"total_steps {total}; shorten the phases or train longer."
    )
  if decay is None:
    return warmup + hold, total - warmup - hold
  if decay < 1:
    raise ValueError(
      f"{name}: decay_steps must be None or 1 or more, got {decay}."
    )
  return warmup + hold, decay
