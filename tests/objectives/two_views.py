"""A small network with two views, and the same in NumPy."""

import jax
import numpy as np

from d2v_jax.models.mlp_head import MlpHead
from d2v_jax.models.vision import vit
from d2v_jax.objectives.ema import Ema
from tests.objectives import learning
from tests.reference import data2vec as reference

WIDTH, HEADS, PATCH = 8, 2, 4
SLOW = Ema(0.996, 1.0, 100, "cosine")


def make(objective, dtype="float32", ema=SLOW, encoder=None, **fields):
  """An objective of the class on a small ViT; arguments of both."""
  network = vit(
    image_size=8,
    patch_size=PATCH,
    width=WIDTH,
    depth=2,
    num_heads=HEADS,
    mlp_ratio=2,
    mean=(0.5,),
    std=(0.25,),
    compute_dtype=dtype,
    **(encoder or {}),
  )
  heads = (
    MlpHead(12, 6, 3, compute_dtype=dtype),
    MlpHead(10, 6, 2, speed=20.0, compute_dtype=dtype),
  )
  return objective(network, *heads, ema, **fields)


def make_batch(dtype="float32"):
  rng = np.random.default_rng(0)
  views = rng.normal(size=(2, 3, 8, 8, 2)).astype(dtype)
  return {"inputs": views[0], "inputs_b": views[1]}


def draw(objective, batch, dtype="float64"):
  """A student and a teacher that are not alike."""
  rng = np.random.default_rng(1)
  shapes = jax.eval_shape(objective.init, jax.random.key(0), batch)
  normal = lambda s: (0.4 * rng.normal(size=s.shape)).astype(dtype)  # noqa: E731
  params = jax.tree.map(normal, shapes)
  teacher = jax.eval_shape(objective.init_teacher, shapes)
  return params, jax.tree.map(normal, teacher)


def linear(p, x):
  weights = p["kernel"] - p["kernel"].mean(0)
  return (
    x @ (weights / np.linalg.norm(weights, axis=0) * p["scale"]) + p["bias"]
  )


def mlp(p, x, groups):
  x = linear(p["fc1"], x)
  x = reference.layer_norm(x.reshape(len(x), groups, -1)).reshape(x.shape)
  x = x * p["norm"]["scale"] + p["norm"]["bias"]
  return linear(p["fc2"], np.maximum(x, 0))


def project(params, images):
  tokens, _ = reference.encoder(params, images, None, patch=PATCH, heads=HEADS)
  return mlp(params["projector"], tokens.mean(1), 3)


def unit(x):
  return x / np.linalg.norm(x, axis=-1, keepdims=True)


def learned(objective):
  """Forty updates by views that differ by noise: metrics, and the state.

  Args:
    objective: a class of such objectives.
  """
  rng = np.random.default_rng(0)
  images = rng.normal(size=(16, 8, 8, 1))
  noisy = images + 0.1 * rng.normal(size=(2, *images.shape))
  batch = {
    "inputs": noisy[0].astype(np.float32),
    "inputs_b": noisy[1].astype(np.float32),
  }
  teacher = Ema(0.9, 1.0, 40, "cosine")
  return learning.train(make(objective, ema=teacher), batch, 40)
