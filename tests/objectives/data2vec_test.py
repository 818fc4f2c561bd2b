import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from d2v_jax.models.heads import RegressionHead
from d2v_jax.models.vision import vit
from d2v_jax.objectives.data2vec import Data2Vec
from d2v_jax.objectives.ema import Ema
from d2v_jax.objectives.targets import Targets
from tests.reference import data2vec as reference

WIDTH, DEPTH, HEADS, PATCH = 16, 3, 2, 4


def make(
  encoder=(), head=1, dtype="float32", targets=(), **kwargs
) -> tuple[Data2Vec, dict, dict, dict]:
  """Objective with random parameters, teacher and a batch."""
  network = vit(
    image_size=12,
    patch_size=PATCH,
    width=WIDTH,
    depth=DEPTH,
    num_heads=HEADS,
    mlp_ratio=2,
    compute_dtype=dtype,
    **dict(encoder),
  )
  objective = Data2Vec(
    network,
    RegressionHead(head, dtype),
    Ema(0.9, 0.9),
    Targets(
      **{"top_k": 2, "output": "block", "layer_norms": ("layer",)}
      | dict(targets)
    ),
    **kwargs,
  )
  rng = np.random.default_rng(0)
  batch = {
    "inputs": rng.normal(size=(3, 12, 12, 2)).astype(dtype),
    "mask": np.stack([rng.permutation(9) < 5 for _ in range(3)]),
  }
  shapes = jax.eval_shape(objective.init, jax.random.key(0), batch)
  draw = lambda s: (0.3 * rng.normal(size=s.shape)).astype(dtype)  # noqa: E731
  params = jax.tree.map(draw, shapes)
  teacher = jax.tree.map(lambda p: p + 0.1 * draw(p), params)
  return objective, params, teacher, batch


@pytest.mark.parametrize(
  ("encoder", "targets", "options"),
  [
    ({}, {"layer_norms": ("layer",), "average_norms": ("layer",)}, {}),
    ({"layer_scale": 0.0}, {"output": "ffn", "layer_norms": ("instance",)}, {}),
    ({}, {"output": "attention", "layer_norms": ("batch", "instance")}, {}),
    ({"pre_norm": False}, {"average_norms": ("layer", "instance")}, {}),
    ({"positions": "absolute"}, {}, {"loss_beta": 0.0, "loss_scale": "rsqrt"}),
    ({}, {"top_k": 3}, {"head": 0, "loss_scale": 1.0, "loss_beta": 0.5}),
  ],
  ids=str,
)
def test_loss_is_the_formula(encoder, targets, options):
  with jax.enable_x64(True):
    objective, params, teacher, batch = make(
      encoder, dtype="float64", targets=targets, **options
    )
    loss, weight, metrics = jax.jit(objective.loss)(
      params, teacher, batch, None
    )
    scale = {"mean": 1 / WIDTH, "rsqrt": WIDTH**-0.5}.get(
      objective.loss_scale, objective.loss_scale
    )
    y, x, expected = reference.loss(
      params,
      teacher,
      batch["inputs"],
      batch["mask"],
      top_k=objective.targets.top_k,
      target=objective.targets.output,
      layer_norms=objective.targets.layer_norms,
      average_norms=objective.targets.average_norms,
      beta=objective.loss_beta,
      scale=scale,
      patch=PATCH,
      heads=HEADS,
      pre_norm=dict(encoder).get("pre_norm", True),
    )
    targets = jax.jit(objective.teacher_targets)(params, teacher, batch)
    np.testing.assert_allclose(targets, y, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(loss, expected, rtol=1e-9)
    mask = batch["mask"]
    for name, rows in (("target_std", y[mask]), ("prediction_std", x[mask])):
      std = np.sqrt(rows.var(0, ddof=1) + 1e-6).mean()
      np.testing.assert_allclose(metrics[name], std, rtol=1e-9)
    assert weight == mask.sum() == 15


def test_gradient_is_the_difference_quotient():
  with jax.enable_x64(True):
    objective, params, teacher, batch = make(dtype="float64")

    @jax.jit
    def loss(p):
      return objective.loss(p, teacher, batch, None).value

    rng = np.random.default_rng(1)
    direction = jax.tree.map(lambda p: rng.normal(size=p.shape), params)
    grads = jax.grad(loss)(params)
    along = sum(
      (g * d).sum()
      for g, d in zip(
        jax.tree.leaves(grads), jax.tree.leaves(direction), strict=True
      )
    )
    step = 1e-6
    up = jax.tree.map(lambda p, d: p + step * d, params, direction)
    down = jax.tree.map(lambda p, d: p - step * d, params, direction)
    quotient = (loss(up) - loss(down)) / (2 * step)
    np.testing.assert_allclose(along, quotient, rtol=1e-7)


def test_the_student_does_not_see_what_is_masked():
  objective, params, _, batch = make()
  hidden = batch["mask"].reshape(3, 3, 3).repeat(4, 1).repeat(4, 2)[..., None]
  other = np.where(hidden, 7.0, batch["inputs"]).astype(np.float32)
  predictions = jax.jit(objective.predictions)
  before = predictions(params, batch, None)
  after = predictions(params, {**batch, "inputs": other}, None)
  np.testing.assert_array_equal(before, after)


def test_unmasked_positions_do_not_enter_the_loss():
  objective, params, teacher, batch = make()

  def loss(predictions):
    fixed = dataclasses.replace(
      objective, head=_Constant(objective.head, predictions)
    )
    return fixed.loss(params, teacher, batch, None).value

  grad = jax.grad(loss)(jnp.zeros((3, 9, WIDTH)))
  assert (np.abs(grad).max(-1) > 0).tolist() == batch["mask"].tolist()


@dataclasses.dataclass(frozen=True)
class _Constant:
  head: RegressionHead
  value: jax.Array

  def __call__(self, params, tokens):
    return self.value


def test_the_teacher_gets_no_gradient_and_no_dropout():
  objective, params, teacher, batch = make(
    {"drop_path": 0.5, "attention_dropout": 0.5}
  )
  rng = jax.random.key(0)

  @jax.jit
  def loss(params, teacher, rng):
    return objective.loss(params, teacher, batch, rng).value

  grads = jax.grad(loss, argnums=1)(params, teacher, rng)
  assert all(np.all(g == 0) for g in jax.tree.leaves(grads))
  first, second = (loss(params, teacher, jax.random.key(i)) for i in (1, 2))
  assert first != second  # the student's dropout is on
  np.testing.assert_array_equal(
    objective.teacher_targets(params, teacher, batch),
    objective.teacher_targets(params, teacher, batch),
  )


def test_shared_parts_of_the_teacher_follow_the_student():
  objective, params, teacher, batch = make()
  blocks = {"blocks": teacher["blocks"]}
  mixed = {**params, "blocks": teacher["blocks"]}
  np.testing.assert_array_equal(
    objective.teacher_targets(params, blocks, batch),
    objective.teacher_targets(params, mixed, batch),
  )


def test_top_k_averages_the_last_layers_only():
  objective, params, teacher, batch = make(targets={"output": "ffn"})
  changed = jax.tree.map(np.copy, teacher)
  for top_k, same in ((1, True), (2, False)):
    targets = dataclasses.replace(objective.targets, top_k=top_k)
    one = dataclasses.replace(objective, targets=targets)
    # The last layer's own output bias moves its output, no other layer's.
    before = one.teacher_targets(params, teacher, batch)
    changed["blocks"]["mlp"]["fc2"]["bias"] = teacher["blocks"]["mlp"]["fc2"][
      "bias"
    ].copy()
    changed["blocks"]["gamma_ffn"] = teacher["blocks"]["gamma_ffn"].copy()
    changed["blocks"]["gamma_ffn"][-1] *= -1
    after = one.teacher_targets(params, changed, batch)
    flipped = np.allclose(after, -np.asarray(before), atol=1e-5)
    assert flipped == same


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"loss_beta": -1.0}, "Data2Vec: loss_beta must be 0 or more, got -1.0"),
    ({"loss_scale": 0.0}, "Data2Vec: loss_scale must be above 0, got 0.0"),
    ({"loss_scale": "sum"}, "unknown loss_scale 'sum'; choose one of: mean"),
  ],
)
def test_errors(options, message):
  with pytest.raises(ValueError, match=message):
    make(**options)


def test_more_layers_than_there_are():
  objective, params, teacher, batch = make(targets={"top_k": 4})
  with pytest.raises(ValueError, match="between 1 and the 3 layers"):
    objective.teacher_targets(params, teacher, batch)
