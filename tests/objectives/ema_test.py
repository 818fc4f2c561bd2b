import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from d2v_jax.objectives.ema import Ema, teacher


@pytest.mark.parametrize(
  ("step", "expected"),
  [(1, 0.99900003), (100, 0.999003), (15000, 0.99945), (30000, 0.9999),
   (10**6, 0.9999)],
)  # fmt: skip
def test_linear_decay_by_hand(step, expected):
  decay = Ema(0.999, 0.9999, 30000).decay(step)
  np.testing.assert_allclose(decay, expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize("step", [0, 1, 250, 999, 1000, 1500])
def test_cosine_decay_is_byol(step):
  progress = min(step / 1000, 1)
  expected = 1 - (1 - 0.996) * (math.cos(math.pi * progress) + 1) / 2
  decay = Ema(0.996, 1.0, 1000, "cosine").decay(step)
  np.testing.assert_allclose(decay, expected, rtol=1e-6)


def test_constant_decay_without_annealing():
  assert Ema(0.9998, 0.9998).decay(1) == np.float32(0.9998)


def test_update_is_the_weighted_mean_of_tracked_sub_trees():
  ema = Ema(0.75, 0.75, tracked=("blocks",))
  params = {"blocks": {"w": jnp.array([1.0, 2.0])}, "head": jnp.ones(1)}
  average = ema.init(params)
  assert average.keys() == {"blocks"}
  moved = {**params, "blocks": {"w": jnp.array([5.0, 2.0])}}
  average = ema.update(average, moved, 1)
  np.testing.assert_allclose(average["blocks"]["w"], [2.0, 2.0], rtol=1e-6)
  whole = teacher(moved, average)
  assert whole["head"] is moved["head"]
  assert whole["blocks"] is average["blocks"]


def test_the_first_teacher_is_a_copy_that_survives_donation():
  params = {"w": jnp.arange(4.0)}
  average = Ema().init(params)
  jax.jit(lambda p: jax.tree.map(lambda x: x + 1, p), donate_argnums=0)(params)
  np.testing.assert_array_equal(average["w"], np.arange(4.0))


def test_a_slow_teacher_moves():
  # In bfloat16 this average would stay where it is.
  ema = Ema(0.9999, 0.9999)
  average, params = {"w": jnp.zeros(())}, {"w": jnp.ones(())}
  for n in range(1, 101):
    average = ema.update(average, params, n)
  np.testing.assert_allclose(average["w"], 1 - 0.9999**100, rtol=1e-3)


@pytest.mark.parametrize(
  ("kwargs", "message"),
  [
    ({"schedule": "step"}, "unknown schedule 'step'; choose one of: linear"),
    ({"end": 1.5}, r"must lie in \[0, 1\]"),
    ({"start": 1.5}, r"must lie in \[0, 1\]"),
    ({"anneal_steps": -1}, "anneal_steps must be 0 or more, got -1"),
  ],
)
def test_errors(kwargs, message):
  with pytest.raises(ValueError, match=message):
    Ema(**kwargs)


def test_unknown_sub_trees():
  with pytest.raises(ValueError, match=r"\['layers'\].*choose from: blocks"):
    Ema(tracked=("layers",)).init({"blocks": {}})
