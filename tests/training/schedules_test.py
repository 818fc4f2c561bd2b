import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from d2v_jax.training import schedules

STEPS = np.arange(30)


@pytest.mark.parametrize(
  ("step", "expected"),
  [(0, 0.0), (1, 3.2005e-7), (6249, 2e-3), (6250, 2e-3), (253125, 1.005e-3)],
)
def test_cosine_of_the_released_vision_command(step, expected):
  schedule = schedules.cosine(
    peak=2e-3,
    total_steps=500_000,
    warmup_steps=6249,
    hold_steps=1,
    final=1e-5,
  )
  np.testing.assert_allclose(schedule(step), expected, rtol=1e-4)


@pytest.mark.parametrize(
  ("step", "expected"),
  [
    (0, 5e-6),
    (6000, 2.525e-4),
    (372000, 5e-4),
    (386000, 5e-5),
    (400000, 5e-6),
  ],
)
def test_tri_stage_of_the_released_speech_config(step, expected):
  schedule = schedules.tri_stage(
    peak=5e-4, total_steps=400_000, warmup_steps=12_000, hold_steps=360_000
  )
  np.testing.assert_allclose(schedule(step), expected, rtol=1e-5)


def test_constant():
  schedule = schedules.constant(peak=0.2, total_steps=10, warmup_steps=4)
  rates = [schedule(n) for n in range(6)]
  np.testing.assert_allclose(rates, [0, 0.05, 0.1, 0.15, 0.2, 0.2], rtol=1e-6)


def by_hand(decayed, *, peak, start, warmup, hold, decay):
  """Rates of STEPS; decayed(share of the decay that is over)."""
  rates = []
  for n in STEPS.tolist():
    if n < warmup:
      rates.append(start + (peak - start) * (n / warmup))
    elif n < warmup + hold:
      rates.append(peak)
    else:
      rates.append(decayed(min((n - warmup - hold) / decay, 1.0)))
  return rates


def polynomial(power, peak, final):
  return lambda over: final + (peak - final) * (1 - over) ** power


DECAYS = {
  "cosine": ({}, lambda peak, final: lambda over: final
             + (peak - final) * math.cos(math.pi * over / 2) ** 2),
  "linear": ({}, lambda peak, final: polynomial(1, peak, final)),
  "square": ({"power": 2.0}, lambda peak, final: polynomial(2, peak, final)),
  "root": ({"power": 0.5}, lambda peak, final: polynomial(0.5, peak, final)),
  "tri_stage": ({}, lambda peak, final: lambda over: peak ** (1 - over)
                * final**over),
}  # fmt: skip


@pytest.mark.parametrize("name", DECAYS)
@pytest.mark.parametrize(
  ("warmup", "hold", "decay"),
  [(0, 0, None), (4, 0, None), (4, 3, None), (4, 3, 6), (0, 5, 9), (4, 3, 99)],
)
def test_every_option_by_hand(name, warmup, hold, decay):
  total, peak, start, final = 20, 0.3, 0.02, 0.005
  options, decayed = DECAYS[name]
  rates = {"start": start, "final": final}
  if name == "tri_stage":
    rates = {"start_scale": start / peak, "final_scale": final / peak}
  constructor = name if name in schedules.SCHEDULES else "polynomial"
  schedule = schedules.SCHEDULES[constructor](
    peak=peak,
    total_steps=total,
    warmup_steps=warmup,
    hold_steps=hold,
    decay_steps=decay,
    **rates,
    **options,
  )
  expected = by_hand(
    decayed(peak, final),
    peak=peak,
    start=start,
    warmup=warmup,
    hold=hold,
    decay=decay or total - warmup - hold,
  )
  ours = jax.jit(jax.vmap(schedule))(jnp.asarray(STEPS))
  assert ours.dtype == jnp.float32
  np.testing.assert_allclose(ours, expected, rtol=2e-6, atol=1e-8)


@pytest.mark.parametrize("name", ["cosine", "tri_stage", "linear"])
def test_a_decay_of_what_is_left_is_the_default(name):
  phases = {"peak": 0.3, "total_steps": 20, "warmup_steps": 4, "hold_steps": 3}
  make = schedules.SCHEDULES[name]
  rates = [
    jax.vmap(make(**phases, **options))(jnp.asarray(STEPS))
    for options in ({}, {"decay_steps": 13})
  ]
  np.testing.assert_array_equal(*rates)


def test_constant_starts_at_a_rate():
  schedule = schedules.constant(
    peak=0.2, total_steps=9, warmup_steps=4, start=0.1
  )
  rates = [schedule(n) for n in (0, 2, 4, 9)]
  np.testing.assert_allclose(rates, [0.1, 0.15, 0.2, 0.2], rtol=1e-6)


@pytest.mark.parametrize(
  ("name", "options", "message"),
  [
    (
      "cosine",
      {"warmup_steps": 11},
      r"cosine: warmup_steps 11 \+ hold_steps 0 do not fit into total_steps 10",
    ),
    (
      "linear",
      {"warmup_steps": 5, "hold_steps": 6},
      r"warmup_steps 5 \+ hold_steps 6 do not fit into total_steps 10",
    ),
    ("cosine", {"peak": -1.0}, r"cosine: peak must be 0 or more, got -1\.0"),
    ("cosine", {"start": 1.5}, r"start must be between 0 and peak=1\.0"),
    ("linear", {"final": -0.1}, r"final must be between 0 and .*, got -0\.1"),
    ("constant", {"start": 2.0}, r"constant: start must be .*, got 2\.0"),
    ("linear", {"decay_steps": 0}, r"decay_steps must be None or 1 or more"),
    ("cosine", {"decay_steps": -3}, r"cosine: decay_steps .*, got -3"),
    ("polynomial", {"power": 0.0}, r"power must be above 0, got 0\.0"),
    (
      "tri_stage",
      {"warmup_steps": 1, "hold_steps": 1, "final_scale": 0.0},
      r"final_scale must be in \(0, 1\], got 0\.0",
    ),
    (
      "tri_stage",
      {"warmup_steps": 1, "hold_steps": 1, "start_scale": 1.1},
      r"start_scale must be in \[0, 1\], got 1\.1",
    ),
    (
      "tri_stage",
      {"warmup_steps": 1, "hold_steps": 1, "decay_steps": 0},
      r"tri_stage: decay_steps must be None or 1 or more, got 0",
    ),
  ],
)
def test_errors(name, options, message):
  arguments = {"peak": 1.0, "total_steps": 10} | options
  with pytest.raises(ValueError, match=message):
    schedules.SCHEDULES[name](**arguments)
