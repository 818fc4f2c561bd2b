"""Adam and clipping against the reference."""

import functools
import re

import numpy as np
import optax

from d2v_jax.training import optimizer, schedules
from tests.goldens.pure import Group, Pure

_PARAMS = ("p0", "p1")
INPUTS = frozenset(_PARAMS)


def _adam(case: Pure, *, decay: bool = True, fairseq: bool = False) -> None:
  o = case.options
  b1, b2 = o["betas"]
  weight_decay = o["weight_decay"]
  tx = optimizer.adamw(
    schedules.constant(peak=o["lr"], total_steps=10),
    weight_decay=weight_decay if decay else 0.0,
    uncorrected_eps=fairseq,
    b1=b1,
    b2=b2,
    eps=o["eps"],
    no_decay=(),
  )
  o.finish()
  params = {name: case.arrays[f"{name}/init"] for name in _PARAMS}
  state = tx.init(params)
  for t in range(len(case.arrays["p0/grads"])):
    grads = {name: case.arrays[f"{name}/grads"][t] for name in _PARAMS}
    updates, state = tx.update(grads, state, params)
    params = optax.apply_updates(params, updates)
    for name, value in params.items():
      np.testing.assert_allclose(
        value, case.golden[name][t], rtol=1e-5, atol=1e-6
      )


def _clip(case: Pure) -> None:
  o, largest = case.options, case.options["max_norm"]
  which = re.fullmatch(r"grads\[(\d+)\]", o["input"])
  if which is None:
    o.skip("input")
  o.finish()
  t = int(which[1])
  grads = {name: case.arrays[f"{name}/grads"][t] for name in _PARAMS}
  norm = optax.tree.norm(grads)
  np.testing.assert_allclose(norm, case.golden["norm"], rtol=1e-6)
  if largest:
    tx = optax.clip_by_global_norm(largest)
    grads, _ = tx.update(grads, tx.init(grads))
  for name, value in grads.items():
    np.testing.assert_allclose(value, case.golden[name], rtol=1e-5, atol=1e-6)


GROUPS = {
  "torch_adamw": Group(_adam, "hp/{member}"),
  "torch_adam_nowd": Group(
    functools.partial(_adam, decay=False), "hp/{member}"
  ),
  "fairseq_adam": Group(functools.partial(_adam, fairseq=True), "hp/{member}"),
  "clip": Group(_clip, "clip/{member}"),
}
