"""Pure functions against the reference, group by group of arrays."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from d2v_jax.data.layout import PAD, num_frames
from d2v_jax.models import positions
from d2v_jax.models.token_embedding import token_positions
from d2v_jax.objectives import losses
from d2v_jax.objectives.ema import Ema
from d2v_jax.objectives.targets import average_top_k
from d2v_jax.training import optimizer, schedules
from tests.goldens import block_masks, span_masks
from tests.goldens.speech import conv_layers


def groups(arrays: dict[str, np.ndarray]) -> list[str]:
  """Names of the functions that a file has numbers of."""
  # Common inputs are no functions: of the optimizers, and of the text masks.
  inputs = {"p0", "p1", "items_first8"}
  return sorted({name.split("/")[0] for name in arrays} - inputs)


def check(meta: dict, arrays: dict[str, np.ndarray], group: str) -> None:
  """Compares one group; skips, with the reason, what we have not."""
  case = meta["case"]
  checks = next((c for k, c in CHECKS.items() if case.startswith(k)), {})
  if group not in checks:
    pytest.skip(f"{case}: {group}: no such function here")
  mine = {
    name.removeprefix(f"{group}/"): value
    for name, value in arrays.items()
    if name.startswith(f"{group}/") or name == group
  }
  checks[group](meta, arrays, mine)


def _members(mine):
  return sorted({name.split("/")[0] for name in mine})


def _loss(meta, arrays, mine):
  for i, beta in enumerate(mine["betas"]):

    def total(x, beta=beta):
      return losses.regression_loss(x, mine["y"], float(beta)).sum()

    value = losses.regression_loss(mine["x"], mine["y"], float(beta))
    np.testing.assert_allclose(value, mine["value"][i], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(
      jax.grad(total)(mine["x"]), mine["grad_x"][i], rtol=1e-6, atol=1e-6
    )


def _var(meta, arrays, mine):
  for i in _members(mine):
    x = mine[f"{i}/in"]
    x = x.reshape(1, -1, x.shape[-1])
    std = losses.masked_std(x, np.ones(x.shape[:2], bool))
    np.testing.assert_allclose(std, mine[f"{i}/out"], rtol=1e-5)


def _targets(meta, arrays, mine):
  layers = mine.pop("layers")
  for name, value in mine.items():
    i, top = name.split("/")
    c = meta["configs"][f"targets/{i}"]
    order = ("batch", "instance", "layer")
    layer_norms = [n for n in order if c.get(f"{n}_norm_target_layer")]
    after = [n for n in ("layer", "instance") if c.get(f"{n}_norm_targets")]
    y = average_top_k(
      layers, int(top.removeprefix("top")), tuple(layer_norms), tuple(after)
    )
    np.testing.assert_allclose(y, value, rtol=0, atol=1e-5, err_msg=name)


def _gelu(meta, arrays, mine):
  y = jax.nn.gelu(mine["x"], approximate=False)
  np.testing.assert_allclose(y, mine["y"], rtol=0, atol=1e-6)


def _relpos(meta, arrays, mine):
  for size in _members(mine):
    grid = tuple(int(n) for n in size.split("x"))
    index = positions.relative_position_index(grid)
    np.testing.assert_array_equal(index, mine[f"{size}/index"])
    table = mine[f"{size}/table"]
    module = positions.RelativePositionBias(grid, table.shape[1], True)
    bias = module.apply({"params": {"table": table}})
    if f"{size}/bias" in mine:
      np.testing.assert_array_equal(bias, mine[f"{size}/bias"])


def _sincos2d(meta, arrays, mine):
  for name, value in mine.items():
    width, grid = name.removeprefix("dim").split("_grid")
    ours = positions.sincos_positions((int(grid),) * 2, int(width))
    np.testing.assert_allclose(ours, value, rtol=0, atol=1e-6)


def _sinusoidal(meta, arrays, mine):
  table = positions.sinusoidal_positions(*mine["weights"].shape)
  table[PAD] = 0.0  # as the text encoder does
  np.testing.assert_allclose(table, mine["weights"], rtol=0, atol=1e-6)


def _alibi(meta, arrays, mine, *, dims):
  for name, value in mine.items():
    heads = int(name.removeprefix("heads").split("_")[0])
    length = value.shape[-1]
    grid = (round(length**0.5),) * 2 if dims == 2 else ()
    slopes = jnp.asarray(positions.alibi_slopes(heads), jnp.float32)
    ours = positions.alibi_bias(jnp.arange(length)[None], slopes, grid)
    np.testing.assert_allclose(ours[0], value, rtol=1e-6)


def _make_positions(meta, arrays, mine):
  padding = jnp.asarray(mine["tokens"] == PAD)
  np.testing.assert_array_equal(token_positions(padding), mine["positions"])


def _convlen(meta, arrays, mine):
  for i in _members(mine):
    layers = conv_layers(meta["configs"][f"convlen/{i}"])
    frames = num_frames(mine[f"{i}/in"], layers)
    np.testing.assert_array_equal(frames, mine[f"{i}/out"])


def _ema(meta, arrays, mine):
  for i in _members(mine):
    c = meta["configs"][f"ema/{i}"]
    ema = Ema(c["start"], c["end"], c["anneal_end_step"])
    decay = [ema.decay(n) for n in mine[f"{i}/steps"]]
    np.testing.assert_allclose(decay, mine[f"{i}/decay"], rtol=1e-6)


def _ema_beit(meta, arrays, mine):
  for i in _members(mine):
    c = meta["configs"][f"ema_beit/{i}"]
    start, end, steps = c["ema_decay_init"], c["ema_decay"], c["ema_start_at"]
    ema = Ema(start - (end - start) / steps, end, steps + 1)
    # Their first update is number 0, ours number 1.
    decay = [ema.decay(n + 1) for n in mine[f"{i}/steps"]]
    np.testing.assert_allclose(decay, mine[f"{i}/decay"], rtol=1e-6)


def _rates(schedule, steps):
  return jax.vmap(schedule)(jnp.asarray(steps))


def _cosine(meta, arrays, mine):
  for i in _members(mine):
    c = meta["configs"][f"cosine/{i}"]
    schedule = schedules.cosine(
      peak=c["lr"],
      total_steps=c["max_update"],
      warmup_steps=c["warmup_updates"],
      start=c.get("warmup_init_lr", 0.0),
      final=c.get("min_lr", 0.0),
    )
    # At max_update itself, which no update uses, theirs begins a new period.
    used = mine[f"{i}/steps"] < c["max_update"]
    ours = _rates(schedule, mine[f"{i}/steps"][used])
    np.testing.assert_allclose(
      ours, mine[f"{i}/lr"][used], rtol=1e-5, atol=1e-6 * c["lr"]
    )


def _tri_stage(meta, arrays, mine):
  for i in _members(mine):
    c = meta["configs"][f"tri_stage/{i}"]
    schedule = schedules.tri_stage(
      peak=c["lr"],
      total_steps=c["max_update"],
      warmup_steps=c["resolved_warmup"],
      hold_steps=c["resolved_hold"],
      start_scale=c["init_lr_scale"],
      final_scale=c["final_lr_scale"],
    )
    ours = _rates(schedule, mine[f"{i}/steps"])
    np.testing.assert_allclose(ours, mine[f"{i}/lr"], rtol=1e-5)


def _polynomial(meta, arrays, mine):
  for i in _members(mine):
    c = meta["configs"][f"polynomial/{i}"]
    schedule = schedules.linear(
      peak=c["lr"],
      total_steps=c["total_num_update"],
      warmup_steps=c["warmup_updates"],
    )
    ours = _rates(schedule, mine[f"{i}/steps"])
    np.testing.assert_allclose(
      ours, mine[f"{i}/lr"], rtol=1e-5, atol=1e-6 * c["lr"]
    )


def _beit_cosine(meta, arrays, mine):
  c = meta["configs"]["beit_cosine"]
  warmup = c["warmup_epochs"] * c["niter_per_ep"]
  total = c["epochs"] * c["niter_per_ep"]
  # Their warm-up includes both ends, so the peak comes twice.
  schedule = schedules.cosine(
    peak=c["base_value"],
    total_steps=total,
    warmup_steps=warmup - 1,
    hold_steps=1,
    final=c["final_value"],
  )
  np.testing.assert_allclose(
    _rates(schedule, np.arange(total)),
    mine["lr"],
    rtol=1e-5,
    atol=1e-6 * c["base_value"],
  )


def _adam(meta, arrays, mine, *, decay=True, fairseq=False):
  for i in _members(mine):
    c = meta["configs"][f"hp/{i}"]
    tx = optimizer.adamw(
      schedules.constant(peak=c["lr"], total_steps=10),
      weight_decay=c["weight_decay"] if decay else 0.0,
      uncorrected_eps=fairseq,
      b1=c["betas"][0],
      b2=c["betas"][1],
      eps=c["eps"],
      no_decay=(),
    )
    params = {name: arrays[f"{name}/init"] for name in ("p0", "p1")}
    state = tx.init(params)
    for t in range(len(arrays["p0/grads"])):
      grads = {name: arrays[f"{name}/grads"][t] for name in params}
      updates, state = tx.update(grads, state, params)
      params = optax.apply_updates(params, updates)
      for name, value in params.items():
        np.testing.assert_allclose(
          value, mine[f"{i}/{name}"][t], rtol=1e-5, atol=1e-6
        )


def _clip(meta, arrays, mine):
  grads = {name: arrays[f"{name}/grads"][0] for name in ("p0", "p1")}
  for i in _members(mine):
    np.testing.assert_allclose(
      optax.tree.norm(grads), mine[f"{i}/norm"], rtol=1e-6
    )
    largest = meta["configs"][f"clip/{i}"]["max_norm"]
    clipped = grads
    if largest:
      tx = optax.clip_by_global_norm(largest)
      clipped, _ = tx.update(grads, tx.init(grads))
    for name, value in clipped.items():
      np.testing.assert_allclose(
        value, mine[f"{i}/{name}"], rtol=1e-5, atol=1e-6
      )


def _beit(meta, arrays, mine):
  for i in _members(mine):
    golden = {
      name.removeprefix(f"{i}/"): value
      for name, value in mine.items()
      if name.startswith(f"{i}/")
    }
    block_masks.check(meta["configs"][i], golden)


def _block_versions(meta, arrays, mine):
  for i in _members(mine):
    golden = {
      name.removeprefix(f"{i}/"): value
      for name, value in mine.items()
      if name.startswith(f"{i}/")
    }
    block_masks.check_versions(meta["configs"][f"v2_{i}"], golden)


def _random_masking(meta, arrays, mine):
  block_masks.check_random(mine["L"], mine["ratio"], mine["num_masked"])


CHECKS = {
  "pure_block_masks": {
    "beit": _beit,
    "v2": _block_versions,
    "random_masking": _random_masking,
  },
  "pure_mask_indices": {
    "exact": span_masks.check_exact,
    "head": span_masks.check_head,
    "v0.12.2": span_masks.check_older,
  },
  "pure_text_masking": {
    "base": lambda m, a, x: span_masks.check_tokens(m, a, x, "base"),
    "bert": lambda m, a, x: span_masks.check_tokens(m, a, x, "bert"),
  },
  "pure_losses_targets": {
    "loss": _loss,
    "var": _var,
    "targets": _targets,
    "gelu": _gelu,
  },
  "pure_positions": {
    "relpos": _relpos,
    "sincos2d": _sincos2d,
    "sinusoidal": _sinusoidal,
    "alibi1d": functools.partial(_alibi, dims=1),
    "alibi2d": functools.partial(_alibi, dims=2),
    "make_positions": _make_positions,
    "convlen": _convlen,
  },
  "pure_schedules": {
    "ema": _ema,
    "ema_beit": _ema_beit,
    "cosine": _cosine,
    "tri_stage": _tri_stage,
    "polynomial": _polynomial,
    "beit_cosine": _beit_cosine,
  },
  "pure_optim": {
    "torch_adamw": _adam,
    "torch_adam_nowd": functools.partial(_adam, decay=False),
    "fairseq_adam": functools.partial(_adam, fairseq=True),
    "clip": _clip,
  },
}
