"""Learning rates and decays of the teacher against the reference."""

import jax
import jax.numpy as jnp
import numpy as np

from d2v_jax.objectives.ema import Ema
from d2v_jax.training import schedules
from tests.goldens.options import Options
from tests.goldens.pure import Group, Pure


def ema_of_vision_port(options: Options, **arguments) -> Ema:
  """The released vision code's teacher.

  Its clock starts at 0 and ours at 1: the same line, one step longer.
  """
  start, end = options["ema_decay_init"], options["ema_decay"]
  steps = options["ema_start_at"]
  if steps:
    start, steps = start - (end - start) / steps, steps + 1
  return Ema(start=start, end=end, anneal_steps=steps, **arguments)


def _ema(case: Pure) -> None:
  o, steps, decay = case.options, case.golden["steps"], case.golden["decay"]
  ema = Ema(o["start"], o["end"], o["anneal_end_step"])
  o.finish()
  # No update has number 0, where without annealing theirs is at the end.
  used = steps >= (ema.anneal_steps == 0)
  _check_decay(ema, steps[used], decay[used])


def _ema_of_vision_port(case: Pure) -> None:
  ema = ema_of_vision_port(case.options)
  case.options.finish()
  # Their first update is number 0, ours number 1.
  _check_decay(ema, case.golden["steps"] + 1, case.golden["decay"])


def _check_decay(ema: Ema, steps: np.ndarray, expected: np.ndarray) -> None:
  decay = [ema.decay(n) for n in steps]
  np.testing.assert_allclose(decay, expected, rtol=1e-6)


def _check_rates(
  schedule: schedules.Schedule,
  steps: np.ndarray,
  expected: np.ndarray,
  atol: float = 0.0,
) -> None:
  rates = jax.vmap(schedule)(jnp.asarray(steps))
  np.testing.assert_allclose(rates, expected, rtol=1e-5, atol=atol)


def _cosine(case: Pure) -> None:
  o, steps = case.options, case.golden["steps"]
  peak, warmup = o["lr"], o.get("warmup_updates", 0)
  final = o.get("min_lr", 0.0)
  start = o.get("warmup_init_lr", -1)
  period, total = o.get("lr_period_updates", -1), o.get("max_update", 0)
  if period <= 0:
    period = total - warmup
  if total:
    # At max_update itself, which no update uses, theirs may begin anew.
    steps = steps[steps < total]
  if (steps >= warmup + period).any():
    o.skip("lr_period_updates", "repeated periods are not built here")
  o.ignore("of the periods after the first", "t_mult", "lr_shrink")
  o.finish()
  schedule = schedules.cosine(
    peak=peak,
    total_steps=total or warmup + period,
    warmup_steps=warmup,
    decay_steps=period,
    start=final if start < 0 else start,
    final=final,
  )
  expected = case.golden["lr"][: len(steps)]
  _check_rates(schedule, steps, expected, atol=1e-6 * peak)


def _tri_stage(case: Pure) -> None:
  o = case.options
  o.ignore("the case says what comes of them", "phase_ratio", "max_update")
  warmup, hold, decay = (
    o.get(f"resolved_{phase}", o.get(f"{phase}_steps", 0))
    for phase in ("warmup", "hold", "decay")
  )
  schedule = schedules.tri_stage(
    peak=o["lr"],
    total_steps=warmup + hold + decay,
    warmup_steps=warmup,
    hold_steps=hold,
    start_scale=o.get("init_lr_scale", 0.01),
    final_scale=o.get("final_lr_scale", 0.01),
  )
  o.finish()
  _check_rates(schedule, case.golden["steps"], case.golden["lr"])


def _polynomial(case: Pure) -> None:
  o = case.options
  o.off("force_anneal")
  peak = o["lr"]
  total = o.get("total_num_update") or o["max_update"]
  o.ignore("total_num_update comes before it", "max_update")
  warmup = o.get("warmup_updates", 0)
  schedule = schedules.polynomial(
    peak=peak,
    total_steps=total,
    warmup_steps=warmup,
    final=o.get("end_learning_rate", 0.0),
    power=o.get("power", 1.0),
  )
  o.finish()
  expected = case.golden["lr"]
  _check_rates(schedule, case.golden["steps"], expected, atol=1e-6 * peak)


def _cosine_of_vision_port(case: Pure) -> None:
  o, (total, warmup) = case.options, _epochs(case.options)
  if o.get("warmup_steps", -1) > 0:
    warmup = o["warmup_steps"]
  schedule = schedules.cosine(
    **_both_ends(warmup),
    peak=o["base_value"],
    total_steps=total,
    start=o.get("start_warmup_value", 0.0),
    final=o["final_value"],
  )
  atol = 1e-6 * o["base_value"]
  o.finish()
  _check_rates(schedule, np.arange(total), case.golden["lr"], atol)


def _tri_phase_of_vision_port(case: Pure) -> None:
  o = case.options
  total, _ = _epochs(o)
  warmup = int(o["warmup_perc"] * total)
  decay = int(o["decay_perc"] * total)
  phases = _both_ends(warmup)
  phases["hold_steps"] += total - warmup - decay
  # The decay, too, includes both ends: the peak comes once more.
  schedule = schedules.linear(
    **phases,
    peak=o["base_value"],
    total_steps=total,
    decay_steps=decay - 1,
    start=o.get("start_warmup_value", 0.0),
    final=o["final_value"],
  )
  atol = 1e-6 * o["base_value"]
  o.finish()
  _check_rates(schedule, np.arange(total), case.golden["lr"], atol)


def _epochs(o: Options) -> tuple[int, int]:
  """Steps in all, and in the epochs of the warm-up."""
  steps = o["niter_per_ep"]
  return o["epochs"] * steps, o.get("warmup_epochs", 0) * steps


def _both_ends(warmup: int) -> dict[str, int]:
  """A warm-up that includes both ends, so that the peak comes twice."""
  if not warmup:
    return {"warmup_steps": 0, "hold_steps": 0}
  return {"warmup_steps": warmup - 1, "hold_steps": 1}


GROUPS = {
  "ema": Group(_ema, "ema/{member}"),
  "ema_beit": Group(_ema_of_vision_port, "ema_beit/{member}"),
  "cosine": Group(_cosine, "cosine/{member}"),
  "tri_stage": Group(_tri_stage, "tri_stage/{member}"),
  "polynomial": Group(_polynomial, "polynomial/{member}"),
  "beit_cosine": Group(_cosine_of_vision_port, "beit_cosine", single=True),
  "beit_tri_phase": Group(
    _tri_phase_of_vision_port, "beit_tri_phase", single=True
  ),
}
