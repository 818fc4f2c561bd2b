import jax
import numpy as np
import pytest

from d2v_jax.objectives.contrastive import Contrastive
from tests.objectives import learning
from tests.objectives.two_views import (
  draw,
  learned,
  make,
  make_batch,
  mlp,
  project,
  unit,
)


def draw_apart(objective, batch):
  """A student and a teacher whose images do not all lie together."""
  params, teacher = draw(objective, batch)
  for tree in (params, teacher):
    for name in {"projector", "predictor"} & set(tree):
      for layer in ("fc1", "fc2"):
        tree[name][layer]["scale"] *= 30
  return params, teacher


@pytest.mark.parametrize("temperature", [0.2, 1.0])
def test_loss_is_the_formula(temperature):
  batch = make_batch("float64")
  with jax.enable_x64(True):
    objective = make(Contrastive, "float64", temperature=temperature)
    params, teacher = draw_apart(objective, batch)
    loss, weight, metrics = jax.jit(objective.loss)(
      params, teacher, batch, None
    )
  views = batch["inputs"], batch["inputs_b"]
  q = [unit(mlp(params["predictor"], project(params, v), 2)) for v in views]
  z = [unit(project(teacher, v)) for v in views]
  # Of each prediction: -log of its share among all three projections.
  total, right = 0.0, 0
  for predicted, projected in ((q[0], z[1]), (q[1], z[0])):
    for i in range(3):
      cosines = projected @ predicted[i]
      shares = np.exp(cosines / temperature)
      total -= 2 * temperature * np.log(shares[i] / shares.sum())
      right += cosines.argmax() == i
  np.testing.assert_allclose(loss, total / 3, rtol=1e-9)
  np.testing.assert_allclose(metrics["contrast_accuracy"], right / 6)
  assert float(weight) == 3


@pytest.mark.slow
def test_gradient_is_the_difference_quotient():
  batch = make_batch("float64")
  with jax.enable_x64(True):
    objective = make(Contrastive, "float64")
    params, teacher = draw_apart(objective, batch)
    learning.assert_gradient(
      lambda p: objective.loss(p, teacher, batch, None).value, params
    )


@pytest.mark.slow
def test_it_tells_images_apart():
  metrics, state = learned(Contrastive)
  assert metrics[-1]["loss"] < 0.5 * metrics[0]["loss"]
  assert metrics[0]["contrast_accuracy"] < 0.5
  assert metrics[-1]["contrast_accuracy"] > 0.75
  assert "predictor" not in state.teacher_params


def test_errors():
  with pytest.raises(ValueError, match=r"temperature must be above 0, got 0"):
    make(Contrastive, temperature=0.0)
  with pytest.raises(ValueError, match=r"Contrastive: .*second view"):
    make(Contrastive).loss({}, {}, {"inputs": make_batch()["inputs"]}, None)
