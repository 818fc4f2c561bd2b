"""Whole networks against the reference: three steps of training each."""

import functools
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
import optax
import pytest

from d2v_jax.models import token_embedding
from d2v_jax.objectives import ema
from d2v_jax.training import state as train_state
from d2v_jax.training.step import train_step
from tests.goldens import inert, speech, text, v2, vision
from tests.goldens.files import Arrays, fingerprint, group
from tests.goldens.options import Options
from tests.goldens.watched import watched

Meta = Mapping[str, Any]

KINDS = {
  "vision_v1": vision.vision_v1,
  "vision_beit": vision.vision_beit,
  "audio_v1": speech.audio_v1,
  "text_v1": text.text_v1,
  "v2": v2.v2,
}

# Quirks that an option of ours has, too.
REPRODUCED = {"batch/instance norm statistics include padded frames"}
# What the networks are given. (The padding of samples is there as that of
# frames, too, and that of texts is a token.)
INPUTS = {
  "input/img",
  "input/source",
  "input/padding_mask",
  "input/src_tokens",
  "input/target_tokens",
}


def read(meta: Meta, arrays: Arrays, dtype: str):
  """The case in our terms, or a skip that says what is not built here."""
  if meta["kind"] not in KINDS:
    pytest.skip(f"kind {meta['kind']}: no adapter for this modality")
  quirks = set(meta["quirks"]) - REPRODUCED
  if quirks:
    pytest.skip(f"quirks of the reference: {'; '.join(sorted(quirks))}")
  _check_resolved(_set_options(meta), meta["resolved_config"])
  inputs = {n for n in group(arrays, "step0/") if n.startswith("input/")}
  if inputs - INPUTS:
    pytest.skip(f"inputs that nothing here takes: {sorted(inputs - INPUTS)}")
  shapes = {k: v.shape for k, v in group(arrays, "param/").items()}
  case = KINDS[meta["kind"]](meta, shapes, dtype)
  trained = {entry.name for entry in case.names.entries}
  frozen = trained & set(meta["requires_grad_false"])
  if frozen:
    pytest.skip(f"parameters that are frozen there: {sorted(frozen)}")
  return case


def _check_resolved(
  config: Mapping, resolved: Mapping, where: str = ""
) -> None:
  """Adapters read the resolved options, so each that is set has to be there."""
  given = Options(config, where=where)
  given.ignore("there is a resolved one", *resolved)
  given.finish()
  for name, value in config.items():
    if isinstance(value, Mapping):
      _check_resolved(value, resolved[name], f"{where}{name}.")


def _set_options(meta: Meta) -> Mapping[str, Any]:
  """The options that were set, in the sections of the resolved ones."""
  config = dict(meta["config"])
  if "modality" in config:
    section = config.pop("modality_cfg", {})
    config["modalities"] = {config.pop("modality").lower(): section}
  return config


def _optimizer(meta: Meta) -> optax.GradientTransformation:
  o = Options(meta["optimizer"], inert.OPTIMIZER, "optimizer.")
  o.only("name", "torch.optim.Adam")
  o.off("weight_decay")
  b1, b2 = o["betas"]
  tx = optax.adam(o["lr"], b1=b1, b2=b2, eps=o["eps"])
  o.finish()
  return tx


def _gradients() -> optax.GradientTransformation:
  """Changes nothing; its state is the last gradients."""
  return optax.GradientTransformation(
    lambda params: params, lambda grads, state, params: (grads, grads)
  )


def _start(meta: Meta, arrays: Arrays, case, dtype: str):
  """Student and teacher before step 0, as a train state."""
  tx = optax.chain(_gradients(), _optimizer(meta))
  to_dtype = functools.partial(
    jax.tree.map, lambda x: jax.numpy.asarray(x, dtype)
  )
  params = to_dtype(case.names.to_tree(group(arrays, "param/")))
  if "decoder" not in params:
    params.setdefault("head", {})
  prefix = meta["teacher_prefix"]
  teacher = {prefix + k: v for k, v in group(arrays, "teacher/").items()}
  teacher = to_dtype(case.names.to_tree(teacher))
  # Some files also list what the teacher shares with the student.
  tracked = case.objective.ema.tracked
  teacher = {k: v for k, v in teacher.items() if not tracked or k in tracked}
  if not tracked:
    teacher.setdefault("head", {})
  state = train_state.from_params(
    jax.random.key(0), params, objective=case.objective, tx=tx
  )
  same = jax.tree.structure(teacher)
  assert jax.tree.structure(state.teacher_params) == same
  return train_state.TrainState(
    state.step, state.rng, params, teacher, state.opt_state
  ), tx


def _masked(values, batch):
  """Masked rows [n, D] of [B * M, N, D], or of [B, N, D] for all M masks."""
  mask = batch["mask"]
  mask = mask.reshape(-1, mask.shape[-1])
  return np.repeat(values, len(mask) // len(values), axis=0)[mask]


def _steps(state, case, arrays, tx, dtype) -> Iterator[tuple]:
  """Number, state and metrics of each step; of the first y and x, masked."""
  step = jax.jit(
    functools.partial(
      train_step,
      objective=watched(case.objective),
      tx=tx,
      schedule=lambda s: s,
    )
  )
  for k in range(3):
    batch = case.batch(group(arrays, f"step{k}/"), dtype)
    state, metrics = step(state, batch)
    if k == 0 and "debug/y_full" in arrays and dtype == "float32":
      np.testing.assert_allclose(
        metrics["y"], arrays["debug/y_full"], rtol=0, atol=1e-4
      )
    for name in ("y", "x"):
      metrics[name] = _masked(metrics[name], batch)
    yield k, state, metrics


def check_float32(meta: Meta, arrays: Arrays) -> None:
  """Targets, predictions, gradients, and three steps."""
  case = read(meta, arrays, "float32")
  state, tx = _start(meta, arrays, case, "float32")
  names = case.names
  close = functools.partial(
    _check_tree, arrays, skip=set(meta["no_grad_params"])
  )
  for k, now, metrics in _steps(state, case, arrays, tx, "float32"):
    expected = group(arrays, f"step{k}/")
    np.testing.assert_allclose(metrics["loss"], expected["loss"], rtol=1e-5)
    np.testing.assert_allclose(
      metrics["ema_decay"], arrays["ema_decay"][k], rtol=1e-6
    )
    np.testing.assert_allclose(
      metrics["grad_norm"], arrays["grad_norm"][k], rtol=1e-4
    )
    for ours, theirs in (
      ("target_std", "target_var"),
      ("prediction_std", "pred_var"),
    ):
      np.testing.assert_allclose(metrics[ours], expected[theirs], atol=1e-4)
    if k == 0:
      for name in ("y", "x"):
        np.testing.assert_allclose(
          metrics[name], expected[name], rtol=0, atol=1e-4
        )
      grads = names.to_torch(now.opt_state[0])
      largest = max(np.abs(g).max() for g in grads.values())
      close("grad", grads, 3e-5 * largest)
      close("param1", names.to_torch(now.params), 5e-5)
      close("teacher1", _teacher(meta, names, now), 1e-5)
  close("teacher3", _teacher(meta, names, now), 1e-5)
  # Each entry is within 5e-5 of the reference, as param1 is.
  close("param3", names.to_torch(now.params), 5e-5)


def _teacher(meta, names, state) -> Arrays:
  """The teacher under the names that it has inside of itself."""
  full = names.to_torch(ema.teacher(state.params, state.teacher_params))
  return group(full, meta["teacher_prefix"])


def _check_tree(
  arrays: Arrays, tree: str, ours: Arrays, atol: float, skip: set[str]
) -> None:
  """Compares parameters, or the fingerprints that stand for them.

  Args:
    arrays: the case.
    tree: name of the parameters.
    ours: what is compared.
    atol: largest error of an entry.
    skip: names that are left out.
  """
  __tracebackhide__ = True
  expected = group(arrays, f"{tree}/")
  for name in expected.keys() - skip:
    np.testing.assert_allclose(
      ours[name], expected[name], rtol=0, atol=atol, err_msg=f"{tree} {name}"
    )
  if expected:
    return
  prefix = "teacher/" if tree.startswith("teacher") else "param/"
  members = sorted(group(arrays, prefix))
  if tree == "grad":
    members = [name for name in members if name not in skip]
  rows = arrays[f"{tree}_fingerprint"]
  for name, row in zip(members, rows, strict=True):
    if name not in skip:
      np.testing.assert_allclose(
        fingerprint({name: ours[name]})[0],
        row,
        rtol=0,
        atol=atol * np.sqrt(ours[name].size),
        err_msg=f"{tree} {name}",
      )


def check_float64(meta: Meta, arrays: Arrays, monkeypatch) -> None:
  """Targets, predictions and losses in double precision."""
  with jax.enable_x64(True):
    case = read(meta, arrays, "float64")
    for name, table in group(arrays, "buffer/").items():
      # The reference computes it in float32, and is up to 1e-6 off the formula.
      if name.endswith("embed_positions.weights"):
        monkeypatch.setattr(
          token_embedding, "sinusoidal_positions", lambda *_, table=table: table
        )
    state, tx = _start(meta, arrays, case, "float64")
    for k, _, metrics in _steps(state, case, arrays, tx, "float64"):
      np.testing.assert_allclose(
        metrics["loss"], arrays["f64/loss"][k], rtol=1e-7
      )
      np.testing.assert_allclose(
        metrics["grad_norm"], arrays["f64/grad_norm"][k], rtol=1e-7
      )
      if k == 0:
        for name in ("y", "x"):
          assert metrics[name].dtype == np.float64
          np.testing.assert_allclose(
            metrics[name], arrays[f"f64/step0/{name}"], rtol=1e-7, atol=1e-7
          )


def check_features(meta: Meta, arrays: Arrays) -> None:
  """Output and layers of the student on the whole input."""
  case = read(meta, arrays, "float32")
  state, _ = _start(meta, arrays, case, "float32")
  batch = case.batch(group(arrays, "step0/"), "float32")
  output = jax.jit(case.objective.encode)(state.params, batch)
  expected = group(arrays, "features/")
  version_2 = meta["kind"] == "v2"
  # In vision the reference keeps of each layer what its targets are made of,
  # and in version 2 always.
  made_of = version_2 or meta["kind"].startswith("vision")
  layers = (
    getattr(output, case.objective.targets.output) if made_of else output.block
  )
  prefix = "layer_result" if version_2 else "layer"
  # Tokens in front that are no positions of the input; the last one is CLS.
  extra = expected["x"].shape[1] - output.tokens.shape[1] if version_2 else 0
  for i, layer in enumerate(layers):
    np.testing.assert_allclose(
      layer, expected[f"{prefix}_{i}"][:, extra:], rtol=0, atol=1e-4
    )
  x, expected_x = output.tokens, expected.get("x_with_cls", expected.get("x"))
  if extra or "x_with_cls" in expected:
    x = np.concatenate([output.cls[:, None], x], axis=1)
  np.testing.assert_allclose(
    x, expected_x[:, max(extra - 1, 0) :], rtol=0, atol=1e-4
  )
