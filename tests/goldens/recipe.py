"""Cases made from a written recipe; small enough to be always tested.

For the t-th parameter in alphabetical order with shape s: value = base + 0.05
N(s, seed 1000 + t), base 1 for norm weights, 0.1 for layer scale, else 0. The
teacher is the student + 0.01 N(s, seed 5000 + t). N is numpy's RandomState
normal.
"""

import functools
import json
import pathlib

import jax
import numpy as np
import pytest

from d2v_jax.ema import Ema
from d2v_jax.models.heads import RegressionHead
from d2v_jax.models.vision import vit
from d2v_jax.objectives.data2vec import Data2Vec
from tests.goldens.torch_names import Names
from tests.goldens.vision import RULES

_FILE = pathlib.Path(__file__).parent / "recipe.json"


@functools.cache
def _recipes():
  return json.loads(_FILE.read_text())


def names() -> list[str]:
  """All recipes of the file."""
  return sorted(_recipes())


def check(name: str) -> None:
  """Compares loss, targets, predictions and every gradient's norm."""
  if name not in _MODELS:
    pytest.skip(f"{name}: no such modality or objective here")
  objective, rules, batch = _MODELS[name]()
  recipe = _recipes()[name]
  student, teacher, shapes = {}, {}, {}
  for t, (parameter, shape) in enumerate(recipe["param_order"]):
    shapes[parameter] = tuple(shape)
    student[parameter] = _base(parameter) + 0.05 * _normal(shape, 1000 + t)
    teacher[parameter] = student[parameter] + 0.01 * _normal(shape, 5000 + t)
  correspondence = Names(shapes, rules)
  params = correspondence.to_tree(student)
  teacher_params = correspondence.to_tree(teacher)

  (loss, metrics), grads = jax.value_and_grad(objective.loss, has_aux=True)(
    params, teacher_params, batch, None
  )
  np.testing.assert_allclose(loss, recipe["loss_per_sample"], rtol=1e-5)
  np.testing.assert_allclose(
    loss * recipe["sample_size"], sum(recipe["loss_sums"].values()), rtol=1e-5
  )
  mask = batch["mask"]
  assert metrics["loss_weight"] == mask.sum() == recipe["n_masked"]
  y = objective.targets(params, teacher_params, batch)[mask]
  x = objective.predictions(params, batch, None)[mask]
  np.testing.assert_allclose(y[0, :5], recipe["target_first"], atol=1e-4)
  np.testing.assert_allclose(x[0, :5], recipe["pred_first"], atol=1e-4)
  total = 0.0
  for parameter, grad in correspondence.to_torch(grads).items():
    norm = np.linalg.norm(grad.astype(np.float64))
    total += norm**2
    # The file rounds to eight decimals.
    np.testing.assert_allclose(
      norm,
      recipe["grad_l2"][parameter],
      rtol=1e-4,
      atol=1e-7,
      err_msg=parameter,
    )
  np.testing.assert_allclose(total**0.5, recipe["grad_l2_total"], rtol=1e-5)


def _normal(shape, seed):
  return np.random.RandomState(seed).standard_normal(shape).astype(np.float32)


def _base(parameter):
  if "gamma_" in parameter:
    return np.float32(0.1)
  is_norm = "norm" in parameter and parameter.endswith("weight")
  return np.float32(is_norm)


def _v1_vision():
  objective = Data2Vec(
    encoder=vit(width=48, depth=3, num_heads=4, layer_scale=0.1),
    head=RegressionHead(1),
    ema=Ema(0.9998, 0.9998),
    top_k=2,
    target="block",
    layer_norms=("layer",),
    average_norms=("layer",),
    loss_beta=2.0,
    loss_scale="mean",
  )
  images = np.random.RandomState(1).standard_normal((2, 3, 224, 224))
  mask = np.random.RandomState(2).rand(2, 14, 14) < 0.6
  batch = {
    "inputs": images.transpose(0, 2, 3, 1).astype(np.float32),
    "mask": mask.reshape(2, 196),
  }
  return objective, RULES, batch


_MODELS = {"v1_vision": _v1_vision}
