import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from d2v_jax.models.mlp_head import MlpHead
from d2v_jax.models.speech import speech
from d2v_jax.objectives.byol import Byol
from tests.objectives import learning
from tests.objectives.two_views import (
  HEADS,
  SLOW,
  WIDTH,
  draw,
  learned,
  make,
  make_batch,
  mlp,
  project,
  unit,
)


def test_loss_is_the_formula():
  batch = make_batch("float64")
  with jax.enable_x64(True):
    objective = make(Byol, "float64")
    params, teacher = draw(objective, batch)
    loss, weight, metrics = jax.jit(objective.loss)(
      params, teacher, batch, None
    )
  views = batch["inputs"], batch["inputs_b"]
  x = [unit(mlp(params["predictor"], project(params, v), 2)) for v in views]
  y = [unit(project(teacher, v)) for v in views]
  # 2 - 2 cos of each view's prediction and the other's target.
  cosines = (x[0] * y[1]).sum(-1) + (x[1] * y[0]).sum(-1)
  np.testing.assert_allclose(loss, (4 - 2 * cosines).mean(), rtol=1e-9)
  for name, rows in (("target_std", y), ("prediction_std", x)):
    rows = np.concatenate(rows) * math.sqrt(6)
    std = np.sqrt(rows.var(0, ddof=1) + 1e-6).mean()
    np.testing.assert_allclose(metrics[name], std, rtol=1e-9)
  assert float(weight) == 3


@pytest.mark.slow
def test_gradient_is_the_difference_quotient():
  batch = make_batch("float64")
  with jax.enable_x64(True):
    objective = make(Byol, "float64")
    params, teacher = draw(objective, batch)
    learning.assert_gradient(
      lambda p: objective.loss(p, teacher, batch, None).value, params
    )


def test_the_teacher_has_no_predictor_no_gradient_and_no_dropout():
  objective, batch = make(Byol, encoder=dict(drop_path=0.5)), make_batch()
  params, teacher = draw(objective, batch, "float32")
  assert set(params) - set(teacher) == {"predictor"}

  @jax.jit
  def grads(teacher, rng):
    return jax.grad(lambda t: objective.loss(params, t, batch, rng).value)(
      teacher
    )

  of_teacher = grads(teacher, jax.random.key(0))
  assert all(np.all(g == 0) for g in jax.tree.leaves(of_teacher))
  stds = [
    jax.jit(objective.loss)(params, teacher, batch, jax.random.key(i)).metrics
    for i in range(2)
  ]
  assert stds[0]["prediction_std"] != stds[1]["prediction_std"]
  assert stds[0]["target_std"] == stds[1]["target_std"]


def test_the_views_are_exchangeable_and_examples_do_not_meet():
  objective, batch = make(Byol), make_batch()
  params, teacher = draw(objective, batch, "float32")
  loss = jax.jit(lambda b: objective.loss(params, teacher, b, None).value)
  swapped = {"inputs": batch["inputs_b"], "inputs_b": batch["inputs"]}
  np.testing.assert_allclose(loss(swapped), loss(batch), rtol=1e-6)
  # No batch statistics: the mean of the losses of single examples.
  each = [loss({k: v[i : i + 1] for k, v in batch.items()}) for i in range(3)]
  np.testing.assert_allclose(np.mean(each), loss(batch), rtol=1e-5)


@pytest.mark.parametrize("step", [1, 50, 100, 150])
def test_the_teacher_follows_by_the_cosine_schedule(step):
  objective, batch = make(Byol), make_batch()
  params, teacher = draw(objective, batch, "float32")
  updated, metrics = objective.update_teacher(teacher, params, step)
  tau = 1 - 0.004 * (math.cos(math.pi * min(step / 100, 1)) + 1) / 2
  np.testing.assert_allclose(metrics["ema_decay"], tau, rtol=1e-6)
  got = updated["projector"]["fc1"]["kernel"]
  old, new = (x["projector"]["fc1"]["kernel"] for x in (teacher, params))
  np.testing.assert_allclose(got, tau * old + (1 - tau) * new, atol=1e-6)
  assert updated.keys() == teacher.keys()


@functools.cache
def words():
  """A speech objective, parameters, and two views of different lengths."""
  network = speech(
    conv_layers=((4, 10, 5), (4, 4, 4)),
    width=WIDTH,
    depth=1,
    num_heads=HEADS,
    position_depth=1,
    position_width=3,
    position_groups=2,
  )
  objective = Byol(network, MlpHead(12, 6, 3), MlpHead(10, 6, 2), SLOW)
  rng = np.random.default_rng(0)
  views = rng.normal(size=(2, 2, 325)).astype(np.float32)
  padding = np.zeros((2, 2, 16), bool)
  for i, (row, real) in enumerate(((0, 11), (1, 8))):
    padding[i, row, real:] = True
    views[i, row, 20 * real + 5 :] = 0
  batch = {
    "inputs": views[0],
    "padding": padding[0],
    "inputs_b": views[1],
    "padding_b": padding[1],
  }
  params = jax.jit(objective.init)(jax.random.key(0), batch)
  return objective, params, objective.init_teacher(params), batch


@pytest.mark.slow
def test_each_view_of_speech_has_its_own_padding():
  objective, params, teacher, batch = words()
  loss = jax.jit(lambda b: objective.loss(params, teacher, b, None).value)
  longer = {}
  for key, value in batch.items():
    more = 40 if value.dtype == np.float32 else 2
    longer[key] = np.pad(
      value, ((0, 0), (0, more)), constant_values=value.dtype == bool
    )
  np.testing.assert_allclose(loss(longer), loss(batch), rtol=1e-5)
  exchanged = {**batch, "padding_b": batch["padding"]}
  assert abs(loss(exchanged) - loss(batch)) > 1e-4


@pytest.mark.slow
def test_it_learns_that_views_are_of_the_same_image():
  metrics, state = learned(Byol)
  assert metrics[-1]["loss"] < 0.5 * metrics[0]["loss"]
  # It has not made all images the same.
  assert metrics[-1]["target_std"] > 0.5 * metrics[0]["target_std"]
  assert "predictor" not in state.teacher_params


def test_collapse_is_seen():
  objective, batch = make(Byol), make_batch()
  params, teacher = draw(objective, batch, "float32")
  teacher["projector"]["fc2"]["scale"] *= 0
  loss = jax.jit(objective.loss)(params, teacher, batch, None)
  assert loss.metrics["target_std"] < 0.01


def test_errors():
  objective, batch = make(Byol), make_batch()
  with pytest.raises(ValueError, match=r"no second view `inputs_b`.*views=2"):
    objective.loss({}, {}, {"inputs": batch["inputs"]}, None)
  batch["mask"] = jnp.zeros((3, 4), bool)
  with pytest.raises(ValueError, match=r"hides nothing; leave config\.data\."):
    objective.loss({}, {}, batch, None)
