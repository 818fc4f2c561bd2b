import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from d2v_jax.data.layout import num_frames
from d2v_jax.models.decoder import ConvDecoder
from d2v_jax.models.heads import LinearHead
from d2v_jax.models.visible_speech import visible_speech
from d2v_jax.models.visible_text import visible_text
from d2v_jax.models.visible_vision import visible_vit
from d2v_jax.models.vision import vit
from d2v_jax.objectives.data2vec2 import Data2Vec2
from d2v_jax.objectives.ema import Ema
from d2v_jax.objectives.targets import Targets
from tests.reference import data2vec2 as reference

WIDTH, HEADS, PATCH, MASKS, VISIBLE = 16, 2, 4, 3, 4
LAYERS = ((16, 10, 5), (16, 3, 2), (16, 2, 2))
TARGETS = Targets(2, "ffn", ("instance",))


def choices(rng, examples, tokens, visible, num_masks=MASKS):
  """Masks [B, M, N] and the ids [B, M, V] of what they leave visible."""
  keep = np.stack(
    [
      np.sort(rng.permutation(tokens)[:visible])
      for _ in range(examples * num_masks)
    ]
  ).reshape(examples, num_masks, visible)
  mask = np.ones((examples, num_masks, tokens), bool)
  np.put_along_axis(mask, keep, False, axis=2)
  return mask, keep


def drawn(objective, batch, dtype, seed=0):
  """Random parameters and a teacher that differs from them."""
  rng = np.random.default_rng(seed)
  shapes = jax.eval_shape(objective.init, jax.random.key(0), batch)
  draw = lambda s: (0.3 * rng.normal(size=s.shape)).astype(dtype)  # noqa: E731
  params = jax.tree.map(draw, shapes)
  names = objective.ema.tracked
  teacher = jax.tree.map(
    lambda p: p + 0.1 * draw(p), {name: params[name] for name in names}
  )
  return params, teacher


def make(encoder=(), decoder=(), dtype="float32", targets=(), **kwargs):
  """Objective on images with random parameters, teacher and a batch."""
  network = visible_vit(
    image_size=12,
    patch_size=PATCH,
    width=WIDTH,
    num_heads=HEADS,
    mlp_ratio=2,
    compute_dtype=dtype,
    **{"prenet_depth": 1, "depth": 2, **dict(encoder)},
  )
  convolutions = ConvDecoder(
    compute_dtype=dtype,
    grid=network.grid,
    **{"width": 8, "layers": 2, "kernel": 3, "groups": 2, **dict(decoder)},
  )
  options = {
    "targets": dataclasses.replace(TARGETS, **dict(targets)),
    "cls_loss": 0.3,
    **kwargs,
  }
  rng = np.random.default_rng(0)
  mask, keep_ids = choices(rng, 2, 9, VISIBLE)
  batch = {
    "inputs": rng.normal(size=(2, 12, 12, 2)).astype(dtype),
    "mask": mask,
    "keep_ids": keep_ids,
  }
  objective = Data2Vec2(network, convolutions, Ema(0.9, 0.9), **options)
  names = jax.eval_shape(network.init, jax.random.key(0), batch)
  ema = Ema(0.9, 0.9, tracked=tuple(sorted(names)))
  objective = dataclasses.replace(objective, ema=ema)
  return objective, *drawn(objective, batch, dtype), batch


@pytest.mark.parametrize(
  ("encoder", "decoder", "targets", "options"),
  [
    ({}, {}, {"average_norms": ("layer",)}, {}),
    (
      {"alibi": True, "prenet_depth": 0},
      {"projection_layers": 2, "residual": False, "width": 16},
      {"output": "block", "layer_norms": ("layer",)},
      {"loss_scale": 1.0},
    ),
    (
      {},
      {"kernel": 2, "width": 16, "groups": 4},
      {"top_k": 1},
      {"loss_beta": 0.5, "loss_scale": "mean", "cls_loss": 0.0},
    ),
  ],
  ids=str,
)
def test_loss_is_the_formula(encoder, decoder, targets, options):
  with jax.enable_x64(True):
    objective, params, teacher, batch = make(
      encoder, decoder, "float64", targets, **options
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
      batch["keep_ids"],
      top_k=objective.targets.top_k,
      target=objective.targets.output,
      layer_norms=objective.targets.layer_norms,
      average_norms=objective.targets.average_norms,
      beta=objective.loss_beta,
      scale=scale,
      cls_weight=objective.cls_loss,
      groups=objective.decoder.groups,
      residual=objective.decoder.residual,
      patch=PATCH,
      heads=HEADS,
    )
    np.testing.assert_allclose(loss, expected, rtol=1e-8)
    targets = jax.jit(objective.teacher_targets)(params, teacher, batch)
    # The table of positions is float32.
    np.testing.assert_allclose(targets, y, rtol=1e-6, atol=1e-6)
    predictions = jax.jit(objective.predictions)(params, batch, None)
    np.testing.assert_allclose(predictions, x, rtol=1e-6, atol=1e-6)
    mask = batch["mask"].reshape(-1, 9)
    y = np.repeat(y, MASKS, axis=0)
    for name, rows in (("target_std", y[mask]), ("prediction_std", x[mask])):
      std = np.sqrt(rows.var(0, ddof=1) + 1e-6).mean()
      np.testing.assert_allclose(metrics[name], std, rtol=1e-6)
    assert weight == mask.sum() == 2 * MASKS * (9 - VISIBLE)


@pytest.mark.parametrize("scale", ["rsqrt", 0.5])
def test_the_raw_input_of_hidden_tokens_is_regressed(scale):
  with jax.enable_x64(True):
    head = LinearHead(PATCH * PATCH * 2, "float64")
    options = {"loss_beta": 0.5, "loss_scale": scale}
    objective, params, teacher, batch = make(
      dtype="float64", recon_loss=0.7, head=head, **options
    )
    alone = dataclasses.replace(objective, recon_loss=0.0, head=None)
    total, _, metrics = jax.jit(objective.loss)(params, teacher, batch, None)
    latent = float(jax.jit(alone.loss)(params, teacher, batch, None).value)
    x = jax.jit(objective.predictions)(params, batch, None)
  x = np.asarray(x)
  kernel, bias = (params["head"]["fc1"][k] for k in ("kernel", "bias"))
  errors = []
  for row, hidden in enumerate(batch["mask"].reshape(-1, 9)):
    image = batch["inputs"][row // MASKS]
    for n in np.flatnonzero(hidden):
      r, c = PATCH * (n // 3), PATCH * (n % 3)
      raw = image[r : r + PATCH, c : c + PATCH].reshape(-1)
      raw = (raw - raw.mean()) / np.sqrt(raw.var(ddof=1) + 1e-6)
      gap = np.abs(x[row, n] @ kernel + bias - raw)
      smooth = np.where(gap < 0.5, gap**2, gap - 0.25)
      errors.append(smooth.sum() * (len(raw) ** -0.5 if scale != 0.5 else 0.5))
  np.testing.assert_allclose(metrics["recon_error"], np.mean(errors), rtol=1e-6)
  expected = latent + 0.7 * np.mean(errors)
  np.testing.assert_allclose(total, expected, rtol=1e-6)


def test_what_is_hidden_cannot_change_the_student():
  objective, params, _, batch = make({"alibi": True})
  visible = jax.jit(objective.visible)
  before = visible(params, batch, None)
  for row in range(2):
    for m in range(MASKS):
      hidden = batch["mask"][row, m].reshape(3, 3).repeat(4, 0).repeat(4, 1)
      inputs = batch["inputs"].copy()
      inputs[row][hidden] = 7.0
      after = visible(params, {**batch, "inputs": inputs}, None)
      i = row * MASKS + m
      np.testing.assert_array_equal(before.tokens[i], after.tokens[i])
      np.testing.assert_array_equal(before.cls[i], after.cls[i])
      # Other masks show it.
      assert not np.array_equal(before.tokens, after.tokens)


@dataclasses.dataclass(frozen=True)
class _Constant:
  value: jax.Array

  def __call__(self, params, tokens, keep_ids, length, rng, padding):
    return self.value


def test_visible_positions_do_not_enter_the_loss():
  objective, params, teacher, batch = make(cls_loss=0.0)

  @jax.jit
  def loss(predictions):
    fixed = dataclasses.replace(objective, decoder=_Constant(predictions))
    return fixed.loss(params, teacher, batch, None).value

  grad = jax.grad(loss)(jnp.zeros((2 * MASKS, 9, WIDTH)))
  entered = np.abs(grad).max(-1) > 0
  np.testing.assert_array_equal(entered, batch["mask"].reshape(-1, 9))


@pytest.mark.slow
def test_masks_with_one_teacher_pass_are_as_many_passes():
  objective, params, teacher, batch = make()
  gradient = jax.jit(jax.value_and_grad(lambda p, b: at(p, b).value))

  def at(params, batch):
    return objective.loss(params, teacher, batch, None)

  value, grads = gradient(params, batch)
  parts = []
  for m in range(MASKS):
    one = {k: v[:, m : m + 1] for k, v in batch.items() if k != "inputs"}
    parts.append(gradient(params, {**batch, **one}))
  mean = jax.tree.map(lambda *xs: sum(xs) / MASKS, *parts)
  np.testing.assert_allclose(value, mean[0], rtol=1e-6)
  largest = max(np.abs(g).max() for g in jax.tree.leaves(grads))
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=3e-6 * largest),
    grads,
    mean[1],
  )


def test_the_order_of_the_visible_tokens_does_not_matter():
  objective, params, teacher, batch = make({"alibi": True})
  order = np.random.default_rng(3).permutation(VISIBLE)
  other = {**batch, "keep_ids": batch["keep_ids"][..., order]}
  visible = jax.jit(objective.visible)
  np.testing.assert_allclose(
    visible(params, batch, None).tokens[:, order],
    visible(params, other, None).tokens,
    atol=1e-5,
  )
  loss = jax.jit(lambda b: objective.loss(params, teacher, b, None).value)
  np.testing.assert_allclose(loss(batch), loss(other), rtol=1e-6)


def test_the_teacher_gets_no_gradient_and_no_noise():
  objective, params, teacher, batch = make(
    {"drop_path": 0.5, "attention_dropout": 0.5}, {"input_dropout": 0.1}
  )

  @jax.jit
  def loss(params, teacher, rng):
    return objective.loss(params, teacher, batch, rng).value

  rng = jax.random.key(0)
  grads = jax.jit(jax.grad(loss, argnums=1))(params, teacher, rng)
  assert all(np.all(g == 0) for g in jax.tree.leaves(grads))
  assert loss(params, teacher, rng) != loss(params, teacher, jax.random.key(1))
  # Through what it shares with the student neither.
  shared = {"blocks": teacher["blocks"]}

  @jax.jit
  @jax.grad
  def of_targets(params):
    return objective.teacher_targets(params, shared, batch).sum()

  assert all(np.all(g == 0) for g in jax.tree.leaves(of_targets(params)))


def test_a_teacher_of_decay_1_stays_as_it_is():
  objective, params, teacher, _ = make()
  ema = dataclasses.replace(objective.ema, start=0.5, end=1.0, anneal_steps=3)
  objective = dataclasses.replace(objective, ema=ema)
  for step, still in ((2, False), (3, True), (100, True)):
    updated, metrics = objective.update_teacher(teacher, params, step)
    assert (metrics["ema_decay"] == 1) == still
    same = jax.tree.map(np.array_equal, updated, teacher)
    assert all(jax.tree.leaves(same)) == still


def make_speech(dtype="float32"):
  network = visible_speech(
    conv_layers=LAYERS,
    width=16,
    depth=2,
    num_heads=2,
    position_depth=2,
    position_width=10,
    position_groups=4,
    prenet_depth=1,
    compute_dtype=dtype,
  )
  return Data2Vec2(
    network,
    ConvDecoder(width=16, layers=2, kernel=5, groups=4, compute_dtype=dtype),
    Ema(
      tracked=("positions", "alibi_scale", "prenet_norm", "prenet", "blocks")
    ),
    TARGETS,
  )


def recordings(samples, total, mask, keep_ids, dtype="float32"):
  """Noise of so many samples, padded, with masks made for its frames."""
  frames, length = (num_frames(n, LAYERS) for n in (samples, total))
  audio = np.zeros((2, total), dtype)
  audio[:, :samples] = np.random.default_rng(5).normal(size=(2, samples))
  padding = np.zeros((2, length), bool)
  padding[:, frames:] = True
  more = length - frames
  fill = np.arange(frames, length)[: more // 2]
  fill = np.broadcast_to(fill, (*keep_ids.shape[:2], len(fill)))
  return {
    "inputs": audio,
    "padding": padding,
    "mask": np.pad(mask, ((0, 0), (0, 0), (0, more))),
    "keep_ids": np.concatenate([keep_ids, fill], axis=2),
  }


@pytest.mark.slow
def test_padding_changes_nothing():
  frames = num_frames(400, LAYERS)
  mask, keep_ids = choices(np.random.default_rng(1), 2, frames, 9)
  with jax.enable_x64(True):
    objective = make_speech("float64")
    short = recordings(400, 400, mask, keep_ids, "float64")
    long = recordings(400, 600, mask, keep_ids, "float64")
    assert long["keep_ids"].shape[2] > 9
    params, teacher = drawn(objective, short, "float64")
    params["alibi_scale"] = teacher["alibi_scale"] = np.ones(2)

    @jax.jit
    def compute(batch):
      loss = objective.loss(params, teacher, batch, None).value
      visible = objective.visible(params, batch, None)
      x = objective.decoded(params, visible, batch, None)
      y = objective.teacher_targets(params, teacher, batch)
      return loss, visible.tokens, x, y

    for one, other in zip(compute(short), compute(long), strict=True):
      if one.ndim:
        other = other[:, : one.shape[1]]
      np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)


def test_hidden_frames_cannot_change_the_student():
  objective = make_speech()
  frames = num_frames(400, LAYERS)
  mask, keep_ids = choices(np.random.default_rng(1), 2, frames, 9, 1)
  batch = recordings(400, 400, mask, keep_ids)
  params, _ = drawn(objective, batch, "float32")
  features = objective.encoder.encode_features(params, batch)
  other = np.where(mask[:, 0, :, None], 9.0, features).astype(np.float32)
  visible = jax.jit(objective.visible)
  before = visible(params, batch, None, features).tokens
  after = visible(params, batch, None, other).tokens
  np.testing.assert_array_equal(before, after)
  # What the teacher shares is computed once, and is the same either way.
  np.testing.assert_allclose(
    before, visible(params, batch, None).tokens, atol=1e-5
  )


def test_hidden_words_cannot_change_the_student():
  network = visible_text(
    vocab_size=30,
    max_tokens=12,
    width=16,
    depth=2,
    num_heads=2,
    prenet_depth=0,
    dropout=0.1,
  )
  objective = Data2Vec2(
    network,
    ConvDecoder(
      width=16,
      layers=1,
      kernel=3,
      groups=1,
      residual=False,
      projection_layers=2,
      initial="normal",
    ),
    Ema(tracked=("blocks",)),
    TARGETS,
    loss_scale=1.0,
  )
  tokens = np.random.default_rng(0).integers(4, 29, (2, 10))
  mask, keep_ids = choices(np.random.default_rng(1), 2, 10, 5, 1)
  batch = {"inputs": tokens, "mask": mask, "keep_ids": keep_ids}
  params, teacher = drawn(objective, batch, "float32")
  assert "prenet_norm" not in params
  predictions = jax.jit(objective.predictions)
  other = {**batch, "inputs": np.where(mask[:, 0], 3, tokens)}
  np.testing.assert_array_equal(
    predictions(params, batch, None), predictions(params, other, None)
  )
  # The vector of padding is none that could learn.
  padded = {**batch, "inputs": np.where(np.arange(10) < 7, tokens, 1)}
  grads = jax.jit(
    jax.grad(lambda p: objective.loss(p, teacher, padded, None).value)
  )(params)
  for table in (
    grads["feature_encoder"]["embedding"],
    grads["position_embedding"],
  ):
    assert not table[1].any()
    assert table.any()


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"loss_beta": -1.0}, "Data2Vec2: loss_beta must be 0 or more, got -1.0"),
    ({"loss_scale": "sum"}, "Data2Vec2: unknown loss_scale 'sum'"),
    ({"cls_loss": -1.0}, "cls_loss must be 0 or more, got -1.0"),
    ({"recon_loss": -1.0}, "recon_loss must be 0 or more, got -1.0"),
    ({"recon_loss": 0.1}, "recon_loss is 0.1 and head None; one needs the oth"),
    ({"head": LinearHead(32)}, "recon_loss is 0.0 and head Lin"),
    ({"head": LinearHead(5), "recon_loss": 1.0}, "32 numbers, but the head ha"),
  ],
)
def test_errors(options, message):
  with pytest.raises(ValueError, match=message):
    make(**options)


def test_an_encoder_of_version_1():
  objective, *_ = make()
  with pytest.raises(ValueError, match=r"set encoder\.name to visible_vit"):
    dataclasses.replace(objective, encoder=vit())


def test_a_batch_without_keep_ids():
  objective, params, _, batch = make()
  with pytest.raises(ValueError, match="no mask with keep_ids; set config"):
    objective.predictions(params, {"inputs": batch["inputs"]}, None)


def test_no_cls_token():
  objective, params, teacher, batch = make({"cls_token": False})
  with pytest.raises(ValueError, match="needs an encoder with a CLS token"):
    jax.eval_shape(objective.loss, params, teacher, batch, None)
