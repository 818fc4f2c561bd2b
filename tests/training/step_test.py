import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from d2v_jax.models.decoder import ConvDecoder
from d2v_jax.models.hardware import placement
from d2v_jax.models.heads import RegressionHead
from d2v_jax.models.visible_vision import visible_vit
from d2v_jax.models.vision import vit
from d2v_jax.objectives import ema
from d2v_jax.objectives.data2vec import Data2Vec
from d2v_jax.objectives.data2vec2 import Data2Vec2
from d2v_jax.objectives.objective import Loss, Objective
from d2v_jax.objectives.targets import Targets
from d2v_jax.training import optimizer, schedules, sharding
from d2v_jax.training import state as train_state
from d2v_jax.training.step import train_step

BATCH = 16
STEPS = 10


SIZES = {"image_size": 8, "patch_size": 2, "width": 32, "num_heads": 2}
AVERAGE = ema.Ema(0.9, 0.99, 10)


def make(**encoder):
  network = vit(**SIZES, depth=2, layer_scale=0.1, **encoder)
  targets = Targets(2, "block", ("layer",))
  return parts_of(Data2Vec(network, RegressionHead(1), AVERAGE, targets))


def make_2(noise_std=0.5, **encoder):
  """data2vec 2.0, with enough of the decoder's noise to tell."""
  network = visible_vit(**SIZES, prenet_depth=1, depth=2, **encoder)
  decoder = ConvDecoder(
    width=16, layers=2, groups=4, noise_std=noise_std, grid=network.grid
  )
  targets = Targets(2, "ffn", ("instance",))
  return parts_of(Data2Vec2(network, decoder, AVERAGE, targets, cls_loss=0.5))


def parts_of(objective):
  schedule = schedules.cosine(
    peak=1e-2, total_steps=10, warmup_steps=2, start=1e-3
  )
  # With the usual epsilon, Adam turns rounding of tiny gradients into steps.
  tx = optimizer.adamw(schedule, clip_norm=1.0, eps=1e-3)
  return {"objective": objective, "tx": tx, "schedule": schedule}


def batches(count):
  rng = np.random.default_rng(0)
  for _ in range(count):
    yield {
      "inputs": rng.normal(size=(BATCH, 8, 8, 3)).astype(np.float32),
      "mask": np.stack([rng.permutation(16) < 9 for _ in range(BATCH)]),
    }


def batches_2(count):
  """As batches, with three masks of each example that leave 7 visible."""
  rng = np.random.default_rng(0)
  for batch in batches(count):
    order = np.stack(
      [[rng.permutation(16) for _ in range(3)] for _ in range(BATCH)]
    )
    keep_ids = np.sort(order[..., :7], -1).astype(np.int32)
    mask = np.ones((BATCH, 3, 16), bool)
    np.put_along_axis(mask, keep_ids, False, -1)
    yield {**batch, "mask": mask, "keep_ids": keep_ids}


def start(parts, batch):
  create = functools.partial(
    train_state.create, objective=parts["objective"], tx=parts["tx"]
  )
  return jax.jit(create)(jax.random.key(0), batch)


def run(parts, devices, rule, batches=batches, **kwargs):
  """Losses and the last state of a few steps on so many devices."""
  mesh = sharding.make_mesh(devices, rule)
  batch = next(batches(1))
  create = functools.partial(start, parts, batch)
  stacked = parts["objective"].encoder.sub_trees.stacked
  states = sharding.state_sharding(jax.eval_shape(create), mesh, stacked)
  rows = sharding.batch_sharding(mesh)
  step = jax.jit(
    sharding.under(mesh, functools.partial(train_step, **parts, **kwargs)),
    donate_argnums=0,
    in_shardings=(states, rows),
    out_shardings=(states, sharding.replicated(mesh)),
  )
  state = jax.jit(create, out_shardings=states)()
  losses = []
  for batch in batches(STEPS):
    state, metrics = step(state, sharding.to_devices(batch, rows))
    losses.append(float(metrics["loss"]))
  return losses, state


@functools.cache
def one_device(**encoder):
  return run(make(**encoder), 1, "replicated")


NOISE = {"drop_path": 0.2, "attention_dropout": 0.1}


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["replicated", "fsdp"])
def test_eight_devices_are_one(rule, monkeypatch, caplog):
  # Small arrays stay whole in real runs; here all that can be is split.
  monkeypatch.setattr(placement, "_MIN_SPLIT_SIZE", 0)
  expected, alone = one_device(**NOISE)
  caplog.clear()
  with jax.log_compiles():
    losses, state = run(make(**NOISE), 8, rule)
  np.testing.assert_allclose(losses, expected, rtol=1e-6)
  done = "Finished XLA compilation of jit(train_step)"
  assert sum(done in record.getMessage() for record in caplog.records) == 1

  kernel = state.params["blocks"]["mlp"]["fc1"]["kernel"]
  local = kernel.addressable_shards[0].data.size
  assert local == kernel.size // (8 if rule == "fsdp" else 1)
  teacher = state.teacher_params["blocks"]["mlp"]["fc1"]["kernel"]
  assert teacher.sharding == kernel.sharding
  np.testing.assert_allclose(
    np.asarray(teacher),
    np.asarray(alone.teacher_params["blocks"]["mlp"]["fc1"]["kernel"]),
    rtol=0,
    atol=1e-6,
  )


@functools.cache
def one_device_2():
  return run(make_2(**NOISE), 1, "replicated", batches_2)


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["replicated", "fsdp"])
def test_eight_devices_are_one_of_version_2(rule, monkeypatch):
  monkeypatch.setattr(placement, "_MIN_SPLIT_SIZE", 0)
  expected, alone = one_device_2()
  losses, state = run(make_2(**NOISE), 8, rule, batches_2)
  np.testing.assert_allclose(losses, expected, rtol=1e-6)
  for path in (("prenet", "mlp", "fc1"), ("decoder", "proj1")):
    mine, other = state.params, alone.params
    for name in (*path, "kernel"):
      mine, other = mine[name], other[name]
    assert mine.sharding.is_fully_replicated == (rule == "replicated")
    np.testing.assert_allclose(
      np.asarray(mine), np.asarray(other), rtol=0, atol=1e-6
    )


@pytest.mark.slow
def test_accumulation_is_one_big_batch_of_version_2():
  whole, _ = run(make_2(noise_std=0.0), 1, "replicated", batches_2)
  parts = make_2(noise_std=0.0)
  split, _ = run(parts, 2, "replicated", batches_2, accumulate=2)
  np.testing.assert_allclose(split, whole, rtol=1e-5)


@pytest.mark.parametrize("count", [pytest.param(2, marks=pytest.mark.slow), 4])
def test_accumulation_is_one_big_batch(count):
  whole, state = one_device()
  split, split_state = run(make(), 2, "replicated", accumulate=count)
  np.testing.assert_allclose(split, whole, rtol=1e-5)
  assert int(split_state.step) == int(state.step) == STEPS
  # The teacher and Adam's count move once per update too.
  for a, b in zip(
    jax.tree.leaves((split_state.teacher_params, split_state.opt_state)),
    jax.tree.leaves((state.teacher_params, state.opt_state)),
    strict=True,
  ):
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=0, atol=1e-5)


@pytest.mark.slow
def test_accumulation_weighs_by_masked_tokens():
  parts = make()
  batch = next(batches(1))
  mask = batch["mask"].copy()
  mask[::2, 2:] = False  # fewer masked tokens in every other example
  mask[::2, 0] = True
  batch = {**batch, "mask": mask}
  state = start(parts, batch)
  step = functools.partial(train_step, **parts)
  whole = jax.jit(step)(state, batch)[1]
  split = jax.jit(functools.partial(step, accumulate=2))(state, batch)[1]
  np.testing.assert_allclose(split["loss"], whole["loss"], rtol=1e-6)
  np.testing.assert_allclose(split["grad_norm"], whole["grad_norm"], rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["dots", "full"])
def test_remat_changes_nothing(policy):
  plain, _ = one_device(**NOISE)
  remat, _ = run(make(**NOISE, remat=policy), 1, "replicated")
  np.testing.assert_allclose(remat, plain, rtol=1e-6)


@pytest.mark.slow
def test_the_step_by_hand():
  parts = make()
  batch = next(batches(1))
  state = start(parts, batch)
  new, metrics = jax.jit(functools.partial(train_step, **parts))(state, batch)

  def loss(params):
    objective = parts["objective"]
    return objective.loss(params, state.teacher_params, batch, None).value

  value, grads = jax.jit(jax.value_and_grad(loss))(state.params)
  np.testing.assert_allclose(metrics["loss"], value, rtol=1e-6)
  updates, _ = parts["tx"].update(grads, state.opt_state, state.params)
  params = optax.apply_updates(state.params, updates)
  average = jax.tree.map(
    lambda t, p: 0.909 * t + 0.091 * p, state.teacher_params, params
  )
  for a, b in zip(
    jax.tree.leaves((new.params, new.teacher_params)),
    jax.tree.leaves((params, average)),
    strict=True,
  ):
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)
  assert new.step == 1
  np.testing.assert_allclose(metrics["lr"], 1e-3, rtol=1e-6)
  np.testing.assert_allclose(metrics["ema_decay"], 0.909, rtol=1e-6)


@dataclasses.dataclass(frozen=True)
class Draws(Objective):
  """Its metrics tell the keys that it is given: moments of a draw."""

  encoder: None = None

  def init(self, rng, batch):
    return {"w": jnp.zeros(())}

  def loss(self, params, teacher_params, batch, rng):
    draw = jax.random.uniform(rng)
    return Loss(params["w"], jnp.ones(()), {"mean": draw, "square": draw**2})


@dataclasses.dataclass(frozen=True)
class Root(Objective):
  """The square root of w, whose slope at 0 has no end; NaN below it."""

  encoder: None = None

  def init(self, rng, batch):
    return {"w": jnp.ones(())}

  def loss(self, params, teacher_params, batch, rng):
    value = jnp.sqrt(params["w"] * batch["factor"])
    return Loss(value, jnp.ones(()), {})


@pytest.mark.parametrize(
  ("factor", "loss", "skipped"),
  [(4.0, 2.0, 0), (0.0, 0.0, 1), (-1.0, np.nan, 1)],
)
def test_a_bad_step_changes_nothing_but_its_number(factor, loss, skipped):
  parts = parts_of(Root())
  batch = {"factor": jnp.float32(factor)}
  step = jax.jit(functools.partial(train_step, **parts, skip_bad=True))
  old = start(parts, batch)
  for number in (1, 2):
    new, metrics = step(old, batch)
    assert metrics["skipped"] == skipped
    if number == 1:
      np.testing.assert_array_equal(metrics["loss"], loss)
    assert new.step == number
    same = [
      bool((a == b).all())
      for a, b in zip(
        jax.tree.leaves((old.params, old.opt_state)),
        jax.tree.leaves((new.params, new.opt_state)),
        strict=True,
      )
    ]
    assert all(same) if skipped else not any(same)
    old = new


def test_each_step_has_a_key_of_its_own():
  parts = parts_of(Draws())
  batch = next(batches(1))
  first = start(parts, batch)
  step = jax.jit(functools.partial(train_step, **parts))
  second, metrics = step(first, batch)
  _, later = step(second, batch)
  assert abs(later["mean"] - metrics["mean"]) > 0.01
  # Nothing but the run's key and the number of the step decides on it.
  resumed = dataclasses.replace(first, step=second.step)
  assert step(resumed, batch)[1]["mean"] == later["mean"]


def test_each_micro_batch_has_a_key_of_its_own():
  parts = parts_of(Draws())
  batch = next(batches(1))
  step = jax.jit(functools.partial(train_step, **parts, accumulate=4))
  _, metrics = step(start(parts, batch), batch)
  assert metrics["square"] - metrics["mean"] ** 2 > 0.01  # a variance


@pytest.mark.slow
def test_bfloat16_only_in_products():
  parts = make(compute_dtype="bfloat16", **NOISE)
  parts["objective"] = dataclasses.replace(
    parts["objective"], head=RegressionHead(1, "bfloat16")
  )
  losses, state = run(parts, 1, "replicated")
  dtypes = {x.dtype for x in jax.tree.leaves((state.params, state.opt_state))}
  assert dtypes <= {np.dtype("float32"), np.dtype("int32")}
  batch = next(batches(1))
  output = parts["objective"].encode(state.params, batch)
  assert all(x.dtype == jnp.float32 for x in output if x is not None)
  exact, _ = one_device(**NOISE)
  np.testing.assert_allclose(losses, exact, rtol=0.02)
