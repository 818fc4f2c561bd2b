"""Cases made from a written recipe; small enough to be always tested.

For the t-th parameter in alphabetical order with shape s: value = base + 0.05
N(s, seed 1000 + t), base 1 for norm weights and the scale of ALiBi, 0.1 for
layer scale, else 0. The teacher is the student + 0.01 N(s, seed 5000 + t). N is
numpy's RandomState normal.
"""

import functools
import json
import pathlib
import re

import jax
import numpy as np
import pytest

from d2v_jax.models.decoder import ConvDecoder
from d2v_jax.models.heads import RegressionHead
from d2v_jax.models.speech import speech
from d2v_jax.models.text import text
from d2v_jax.models.visible_speech import visible_speech
from d2v_jax.models.visible_text import visible_text
from d2v_jax.models.visible_vision import visible_vit
from d2v_jax.models.vision import vit
from d2v_jax.objectives.data2vec import Data2Vec
from d2v_jax.objectives.data2vec2 import Data2Vec2
from d2v_jax.objectives.ema import Ema
from d2v_jax.objectives.targets import Targets
from tests.goldens import speech as speech_cases
from tests.goldens import text as text_cases
from tests.goldens import v2 as v2_cases
from tests.goldens import vision as vision_cases
from tests.goldens.torch_names import Names
from tests.goldens.watched import watched

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
    if re.search(r"embed_(tokens|positions)", parameter):
      student[parameter][1] = 0.0  # padding
    teacher[parameter] = student[parameter] + 0.01 * _normal(shape, 5000 + t)
  correspondence = Names(shapes, rules)
  params = correspondence.to_tree(student)
  tracked = objective.ema.tracked or params
  teacher_params = {
    k: v for k, v in correspondence.to_tree(teacher).items() if k in tracked
  }

  @jax.jit
  @functools.partial(jax.value_and_grad, has_aux=True)
  def gradient(params, teacher_params, batch):
    loss = watched(objective).loss(params, teacher_params, batch, None)
    return loss.value, loss

  (loss, (_, weight, metrics)), grads = gradient(params, teacher_params, batch)
  np.testing.assert_allclose(loss, recipe["loss_per_sample"], rtol=1e-5)
  np.testing.assert_allclose(
    loss * recipe["sample_size"], sum(recipe["loss_sums"].values()), rtol=1e-5
  )
  mask = batch["mask"]
  mask = mask.reshape(-1, mask.shape[-1])
  # Of vision the file counts elements of the loss, not tokens.
  tokens = recipe.get("n_masked", recipe["sample_size"])
  assert weight == mask.sum() == tokens
  if "target_var" in recipe:
    for ours, theirs in (
      ("target_std", "target_var"),
      ("prediction_std", "pred_var"),
    ):
      np.testing.assert_allclose(metrics[ours], recipe[theirs], rtol=1e-5)
  y = np.repeat(metrics["y"], len(mask) // len(metrics["y"]), axis=0)[mask]
  x = metrics["x"][mask]
  for ours, name in ((y, "target_first"), (x, "pred_first")):
    if name in recipe:
      np.testing.assert_allclose(ours[0, :5], recipe[name], atol=1e-4)
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
  is_norm = re.search(
    r"(norm|conv_layers\.\d+\.2|project_features\.1).*\.weight$", parameter
  )
  return np.float32(is_norm is not None or parameter.endswith("alibi_scale"))


def _v1_vision():
  objective = Data2Vec(
    encoder=vit(width=48, depth=3, num_heads=4, layer_scale=0.1),
    head=RegressionHead(1),
    ema=Ema(0.9998, 0.9998),
    targets=Targets(2, "block", ("layer",), ("layer",)),
    loss_beta=2.0,
    loss_scale="mean",
  )
  images = np.random.RandomState(1).standard_normal((2, 3, 224, 224))
  mask = np.random.RandomState(2).rand(2, 14, 14) < 0.6
  batch = {
    "inputs": images.transpose(0, 2, 3, 1).astype(np.float32),
    "mask": mask.reshape(2, 196),
  }
  return objective, vision_cases.RULES, batch


def _v1_audio():
  objective = Data2Vec(
    encoder=speech(width=32, depth=3, num_heads=4, mlp_ratio=2.0),
    head=RegressionHead(1),
    ema=Ema(tracked=("norm", "blocks")),
    targets=Targets(2, "ffn", ("instance",)),
    loss_beta=0.0,
    loss_scale="rsqrt",
  )
  audio = np.random.RandomState(1).standard_normal((2, 20000))
  mask = np.zeros((2, 62), bool)
  mask[:, 5:25] = mask[:, 40:50] = True
  batch = {"inputs": audio.astype(np.float32), "mask": mask}
  return objective, speech_cases.RULES, batch


def _v1_text(released):
  objective = Data2Vec(
    encoder=text(vocab_size=100, width=64, depth=2, num_heads=4, mlp_ratio=2.0),
    head=RegressionHead(2),
    ema=Ema(tracked=("blocks",)),
    targets=Targets(2, "ffn", ("layer",)),
    loss_beta=4.0,
    loss_scale=1.0,
  )
  tokens = np.random.RandomState(3).randint(4, 98, (2, 30))
  tokens[:, 0], tokens[:, -1] = 0, 2
  mask = np.zeros((2, 30), bool)
  mask[:, 3:7] = mask[:, 15:19] = True
  batch = {"inputs": tokens, "mask": mask}
  if released:  # the teacher sees the masked tokens alone
    batch["student_inputs"] = tokens
    batch["inputs"] = np.where(mask, tokens, 1)
  return objective, text_cases.RULES, batch


def _v2_image():
  images = np.random.RandomState(1).standard_normal((3, 3, 224, 224))
  mask, keep_ids = _two_masks(3, 196, 39)
  encoder = visible_vit(width=64, depth=2, num_heads=4, prenet_depth=1)
  objective = Data2Vec2(
    encoder=encoder,
    decoder=ConvDecoder(width=64, layers=2, kernel=3, grid=encoder.grid),
    ema=Ema(
      tracked=(
        "feature_encoder",
        "cls_token",
        "prenet_norm",
        "prenet",
        "blocks",
      )
    ),
    targets=Targets(2, "ffn", ("instance",), ("layer",)),
    cls_loss=0.01 * 6,  # theirs is a sum over the rows
  )
  batch = {
    "inputs": images.transpose(0, 2, 3, 1).astype(np.float32),
    "mask": mask,
    "keep_ids": keep_ids,
  }
  return objective, v2_cases.RULES, batch


def _v2_audio():
  audio = np.random.RandomState(1).standard_normal((2, 20000))
  mask, keep_ids = _two_masks(2, 62, 31)
  objective = Data2Vec2(
    encoder=visible_speech(width=64, depth=2, num_heads=4),
    decoder=ConvDecoder(width=32, layers=3, kernel=7),
    ema=Ema(tracked=("positions", "alibi_scale", "prenet_norm", "blocks")),
    targets=Targets(2, "ffn", ("instance",)),
  )
  batch = {
    "inputs": audio.astype(np.float32),
    "mask": mask,
    "keep_ids": keep_ids,
  }
  return objective, v2_cases.RULES, batch


def _v2_text():
  mask, keep_ids = _two_masks(2, 40, 20)
  objective = Data2Vec2(
    encoder=visible_text(vocab_size=100, width=64, depth=2, num_heads=4),
    decoder=ConvDecoder(
      width=64,
      layers=2,
      kernel=9,
      groups=1,
      residual=False,
      projection_layers=2,
    ),
    ema=Ema(tracked=("blocks",)),
    targets=Targets(2, "ffn", ("instance",)),
    loss_scale=1.0,
  )
  tokens = np.random.RandomState(3).randint(4, 98, (2, 40))
  batch = {"inputs": tokens, "mask": mask, "keep_ids": keep_ids}
  return objective, v2_cases.RULES, batch


def _two_masks(examples, tokens, visible):
  draw = np.random.RandomState(4)
  keep = [draw.permutation(tokens)[:visible] for _ in range(2 * examples)]
  mask = np.ones((2 * examples, tokens), bool)
  np.put_along_axis(mask, np.array(keep), False, axis=1)
  keep_ids = np.sort(keep, axis=1).reshape(examples, 2, visible)
  return mask.reshape(examples, 2, tokens), keep_ids


_MODELS = {
  "v2_image": _v2_image,
  "v2_audio": _v2_audio,
  "v2_text": _v2_text,
  "v1_vision": _v1_vision,
  "v1_audio": _v1_audio,
  "v1_text_full_teacher_input": lambda: _v1_text(released=False),
  "v1_text_released_masked_only_teacher_input": lambda: _v1_text(released=True),
}
