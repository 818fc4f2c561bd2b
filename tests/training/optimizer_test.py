import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from d2v_jax.models.encoder import SubTrees
from d2v_jax.models.heads import RegressionHead
from d2v_jax.models.vision import vit
from d2v_jax.training import optimizer
from d2v_jax.training.schedules import constant


def small(**kwargs):
  return vit(
    image_size=8, patch_size=4, width=8, depth=3, num_heads=2, **kwargs
  )


def shapes(**kwargs):
  network = small(**kwargs)
  batch = {"inputs": jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.float32)}
  params = jax.eval_shape(network.init, jax.random.key(0), batch)
  tokens = jax.ShapeDtypeStruct((1, 4, 8), jnp.float32)
  head = jax.eval_shape(RegressionHead(1).init, jax.random.key(0), tokens)
  return {**params, "head": head}


def names(tree):
  return {
    optimizer.path_name(path): value
    for path, value in jax.tree_util.tree_leaves_with_path(tree)
  }


def test_weight_decay_groups_are_beit_s():
  mask = names(optimizer.decay_mask(shapes(positions="absolute")))
  mask |= names(optimizer.decay_mask(shapes()))
  assert {n for n, decays in mask.items() if decays} == {
    "blocks/attention/out/kernel",
    "blocks/attention/qkv/kernel",
    "blocks/mlp/fc1/kernel",
    "blocks/mlp/fc2/kernel",
    "feature_encoder/proj/kernel",
    "head/fc1/kernel",
    "mask_token",
    "relative_position_bias/table",
  }
  assert all(names(optimizer.decay_mask(shapes(), ())).values())


@pytest.mark.slow
def test_layer_wise_rates_by_hand():
  tree = shapes()
  sub_trees = small().sub_trees
  scales = names(optimizer.layer_scales(tree, 0.5, sub_trees))
  for name in ("feature_encoder/proj/kernel", "cls_token", "mask_token"):
    assert scales[name] == 0.5**4
  np.testing.assert_allclose(
    scales["blocks/mlp/fc1/kernel"].ravel(), [0.125, 0.25, 0.5]
  )
  for name in ("norm/scale", "head/fc1/kernel", "relative_position_bias/table"):
    assert scales[name] == 1
  tx = optimizer.adamw(
    constant(peak=0.1, total_steps=1),
    weight_decay=0.0,
    layer_decay=0.5,
    sub_trees=sub_trees,
  )
  params = jax.tree.map(lambda s: jnp.ones(s.shape), tree)
  updates, _ = tx.update(params, tx.init(params), params)
  # Adam's first step is the rate times the sign.
  for name, update in names(updates).items():
    expected = np.broadcast_to(-0.1 * scales[name], update.shape)
    np.testing.assert_allclose(update, expected, rtol=1e-5)


def orthogonal(x):
  """Muon's five Newton-Schulz steps of one matrix."""
  x = x / np.linalg.norm(x)
  for _ in range(5):
    square = x @ x.T
    x = 3.4445 * x + (-4.775 * square + 2.0315 * square @ square) @ x
  return x


@pytest.mark.parametrize("factor", [1.0, 4.0])
def test_muon_by_hand(factor):
  rng = np.random.default_rng(0)
  shapes = {
    "blocks": {
      "fc1": {"kernel": (2, 4, 6), "bias": (2, 6)},
      "fc2": {"kernel": (2, 6, 4)},
      "norm": {"scale": (2, 4)},
    },
    "head": {"kernel": (4, 4)},
    "decoder": {"conv": {"kernel": (3, 4, 4)}},
  }

  def draw():
    return jax.tree.map(
      lambda shape: rng.normal(size=shape).astype(np.float32),
      shapes,
      is_leaf=lambda x: isinstance(x, tuple),
    )

  params = draw()
  options = {"weight_decay": 0.3, "clip_norm": 1.0}
  rate = constant(peak=0.1, total_steps=3)
  sub_trees = SubTrees((), ("blocks",), ())
  tx = optimizer.adamw(rate, muon=factor, sub_trees=sub_trees, **options)
  plain = optimizer.adamw(rate, **options)
  state, plain_state = tx.init(params), plain.init(params)
  momentum = {k: 0.0 for k in names(params)}
  for step in range(1, 4):
    grads = draw()
    updates, state = tx.update(grads, state, params)
    expected, plain_state = plain.update(grads, plain_state, params)
    expected, updates = names(expected), names(updates)
    norm = np.sqrt(sum((g**2).sum() for g in names(grads).values()))
    for name in ("blocks/fc1/kernel", "blocks/fc2/kernel"):
      # Of bias-corrected averages, as optax has Nesterov's momentum.
      g = names(grads)[name] / norm
      momentum[name] = m = 0.95 * momentum[name] + 0.05 * g
      ahead = 0.95 * m / (1 - 0.95 ** (step + 1))
      ahead = ahead + 0.05 * g / (1 - 0.95**step)
      change = np.stack([orthogonal(layer) for layer in ahead])
      change = 0.2 * 6**0.5 * change + 0.3 * names(params)[name]
      expected[name] = -0.1 * factor * change
    for name, update in updates.items():
      np.testing.assert_allclose(
        update, expected[name], rtol=1e-4, atol=1e-6, err_msg=name
      )


def test_layer_wise_rates_with_a_prenet():
  shape = jax.ShapeDtypeStruct
  tree = {
    "prenet_norm": {"scale": shape((4,), np.float32)},
    "prenet": {"w": shape((2, 4, 4), np.float32)},
    "blocks": {"w": shape((3, 4), np.float32)},
    "alibi_scale": shape((2,), np.float32),
  }
  sub_trees = SubTrees(("prenet_norm",), ("prenet", "blocks"), ("alibi_scale",))
  scales = names(optimizer.layer_scales(tree, 0.5, sub_trees))
  assert scales["prenet_norm/scale"] == 0.5**6
  assert scales["prenet/w"].ravel().tolist() == [0.5**5, 0.5**4]
  assert scales["prenet/w"].shape == (2, 1, 1)
  assert scales["blocks/w"].ravel().tolist() == [0.5**3, 0.5**2, 0.5]
  assert scales["alibi_scale"] == 1


def test_clipping_comes_before_adam():
  tx = optimizer.adamw(constant(peak=1.0, total_steps=1), clip_norm=1.0)
  params = {"blocks": {"w": jnp.zeros(2)}}
  _, state = tx.update({"blocks": {"w": jnp.array([3.0, 4.0])}},
                       tx.init(params), params)  # fmt: skip
  mu = optax.tree.get(state, "mu")["blocks"]["w"]
  np.testing.assert_allclose(mu, 0.1 * np.array([0.6, 0.8]), rtol=1e-6)


def adamw_by_hand(params, grads, learns, *, rate, decay, clip):
  """AdamW where only `learns(name, step)` have gradients."""
  params = dict(params)
  m, v = ({k: np.zeros_like(p) for k, p in params.items()} for _ in range(2))
  for step, grad in enumerate(grads):
    on = {k: learns(k, step) for k in params}
    grad = {k: grad[k] * on[k] for k in params}
    norm = np.sqrt(sum((g**2).sum() for g in grad.values()))
    for k, p in params.items():
      g = grad[k] * min(1, clip / norm)
      m[k] = 0.9 * m[k] + 0.1 * g
      v[k] = 0.999 * v[k] + 0.001 * g**2
      first = m[k] / (1 - 0.9 ** (step + 1))
      second = v[k] / (1 - 0.999 ** (step + 1))
      change = first / (np.sqrt(second) + 1e-8) + decay * p
      params[k] = p - rate * on[k] * change
  return params


@pytest.mark.parametrize(
  ("options", "learns"),
  [
    ({"frozen": ("stem", "token")}, lambda k, n: k in ("blocks", "head")),
    ({"freeze_steps": 3}, lambda k, n: k == "head" or n >= 3),
    (
      {"frozen": ("stem",), "freeze_steps": 2},
      lambda k, n: k == "head" or (k != "stem" and n >= 2),
    ),
  ],
  ids=["frozen", "freeze_steps", "both"],
)
def test_freezing(options, learns):
  with jax.enable_x64(True):
    check_freezing(options, learns)


def check_freezing(options, learns):
  rng = np.random.default_rng(0)
  draw = lambda: {  # noqa: E731
    k: rng.normal(size=s)
    for k, s in {"stem": 3, "blocks": (2, 4), "token": 5, "head": 2}.items()
  }
  start, grads = draw(), [draw() for _ in range(6)]
  nested = lambda tree: {k: {"w": jnp.asarray(v)} for k, v in tree.items()}  # noqa: E731
  tx = optimizer.adamw(
    constant(peak=0.1, total_steps=6),
    weight_decay=0.3,
    clip_norm=1.5,
    **options,
  )
  params, state = nested(start), tx.init(nested(start))
  update = jax.jit(tx.update)
  for step, grad in enumerate(grads):
    updates, state = update(nested(grad), state, params)
    params = optax.apply_updates(params, updates)
    for moment in ("mu", "nu"):
      for name, part in optax.tree.get(state, moment).items():
        seen = any(learns(name, n) for n in range(step + 1))
        assert bool(part["w"].any()) == seen, (moment, name, step)
  expected = adamw_by_hand(start, grads, learns, rate=0.1, decay=0.3, clip=1.5)
  for name, value in expected.items():
    np.testing.assert_allclose(params[name]["w"], value, rtol=1e-9)
    if not any(learns(name, n) for n in range(6)):
      np.testing.assert_array_equal(params[name]["w"], start[name])


def test_frozen_gradients_may_be_anything():
  tx = optimizer.adamw(
    constant(peak=0.1, total_steps=2),
    clip_norm=1.0,
    frozen=("stem",),
    freeze_steps=1,
  )
  params = {"stem": jnp.ones(2), "blocks": jnp.ones(2), "head": jnp.ones(2)}
  grads = {k: jnp.full(2, jnp.nan) for k in params} | {"head": jnp.ones(2)}
  updates, state = tx.update(grads, tx.init(params), params)
  assert all(np.isfinite(u).all() for u in updates.values())
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(state))


def test_without_freezing_the_state_is_what_it_was():
  schedule = constant(peak=0.1, total_steps=1)
  params = {"head": jnp.ones(2)}
  names = [
    optimizer.path_name(path)
    for path, _ in jax.tree_util.tree_leaves_with_path(
      optimizer.adamw(schedule, frozen=(), freeze_steps=0).init(params)
    )
  ]
  assert names == ["0/count", "0/mu/head", "0/nu/head", "2/count"]


@pytest.mark.parametrize(
  ("options", "message"),
  [
    (
      {"frozen": ("stem", "head")},
      r"frozen=\('stem', 'head'\).* no sub-tree stem in .* have: blocks, head",
    ),
    ({"freeze_steps": 2, "frozen": ("token",)}, "no sub-tree token in"),
  ],
)
def test_nothing_there_to_freeze(options, message):
  tx = optimizer.adamw(None, **options)
  with pytest.raises(ValueError, match=message):
    tx.init({"blocks": jnp.ones(2), "head": jnp.ones(2)})


def test_freeze_steps_need_a_head():
  with pytest.raises(ValueError, match=r"no sub-tree head in .* have: blocks"):
    optimizer.adamw(None, freeze_steps=1).init({"blocks": jnp.ones(2)})


@pytest.mark.parametrize(
  ("make", "message"),
  [
    (lambda: optimizer.adamw(None, weight_decay=-1), "weight_decay must be >="),
    (lambda: optimizer.adamw(None, clip_norm=0), "use None for no clipping"),
    (lambda: optimizer.adamw(None, layer_decay=2), "layer_decay must be in"),
    (lambda: optimizer.adamw(None, layer_decay=0.5), "needs the network's sub"),
    (lambda: optimizer.adamw(None, muon=1.0), "muon needs the network's sub"),
    (lambda: optimizer.adamw(None, muon=0), "a positive factor of the rate"),
    (lambda: optimizer.adamw(None, muon=True), "factor .* 1.0, got True; use"),
    (lambda: optimizer.adamw(None, freeze_steps=-1), "freeze_steps must be >="),
  ],
)
def test_errors(make, message):
  with pytest.raises(ValueError, match=message):
    make()
