"""The numbers of the reference PyTorch code, case by case.

Cases are found in the folders of the environment variable D2V_GOLDENS
(separated by ':'; default ../shared/goldens) and described by their own
metadata. tests/goldens/recipe.json is always there.
"""

import functools
import json
import os
import pathlib

import jax
import numpy as np
import optax
import pytest

from d2v_jax.models import text as text_models
from d2v_jax.objectives import ema
from d2v_jax.training import state as train_state
from d2v_jax.training.step import train_step
from tests.goldens import pure, recipe, speech, text, v2, vision

ROOT = pathlib.Path(__file__).parents[1]

KINDS = {
  "vision_v1": vision.vision_v1,
  "vision_beit": vision.vision_beit,
  "audio_v1": speech.audio_v1,
  "text_v1": text.text_v1,
  "v2": v2.v2,
}


# Quirks that an option of ours has, too.
REPRODUCED = {"batch/instance norm statistics include padded frames"}


@pytest.fixture(autouse=True, scope="module")
def optimized():
  """What users run is compiled with all optimizations."""
  option = "jax_disable_most_optimizations"
  before = jax.config.read(option)
  jax.config.update(option, False)
  yield
  jax.config.update(option, before)


FOLDERS = os.environ.get("D2V_GOLDENS", str(ROOT.parent / "shared/goldens"))


def _files():
  folders = [pathlib.Path(f) for f in FOLDERS.split(":") if f]
  return [file for f in folders for file in sorted(f.glob("*.npz"))]


def _or_skip(cases, *nothing):
  """The cases, or one that says where none was found."""
  reason = f"no goldens in {FOLDERS}; set D2V_GOLDENS to a folder of them"
  return cases or [pytest.param(*nothing, marks=pytest.mark.skip(reason))]


@functools.cache
def _load(path):
  with np.load(path) as z:
    arrays = {k: z[k] for k in z.files if k != "meta"}
    return json.loads(str(z["meta"])), arrays


def _group(arrays, prefix):
  return {
    k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)
  }


PURE = [f for f in _files() if f.stem.startswith("pure_")]
MODELS = _or_skip([f for f in _files() if f not in PURE], None)
GROUPS = _or_skip(
  [(p, g) for p in PURE for g in pure.groups(_load(p)[1])], None, None
)


def stem(value):
  return value.stem if isinstance(value, pathlib.Path) else str(value)


def _case(path, dtype):
  meta, arrays = _load(path)
  if meta["kind"] not in KINDS:
    pytest.skip(f"kind {meta['kind']}: no adapter for this modality")
  quirks = set(meta["quirks"]) - REPRODUCED
  if quirks:
    pytest.skip(f"quirks of the reference: {'; '.join(sorted(quirks))}")
  shapes = {k: v.shape for k, v in _group(arrays, "param/").items()}
  case = KINDS[meta["kind"]](meta, shapes, dtype)
  return meta, arrays, case


def _start(meta, arrays, case, dtype):
  """Student and teacher before step 0, as a train state."""
  o = meta["optimizer"]
  tx = optax.adam(o["lr"], b1=o["betas"][0], b2=o["betas"][1], eps=o["eps"])
  to_dtype = functools.partial(
    jax.tree.map, lambda x: jax.numpy.asarray(x, dtype)
  )
  params = to_dtype(case.names.to_tree(_group(arrays, "param/")))
  if "decoder" not in params:
    params.setdefault("head", {})
  prefix = meta["teacher_prefix"]
  teacher = {prefix + k: v for k, v in _group(arrays, "teacher/").items()}
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


def _close(actual, expected, atol, what):
  __tracebackhide__ = True
  assert actual.keys() >= expected.keys(), set(expected) - set(actual)
  for name, value in expected.items():
    np.testing.assert_allclose(
      actual[name], value, rtol=0, atol=atol, err_msg=f"{what} {name}"
    )


def _steps(state, case, arrays, tx, dtype):
  step = jax.jit(
    functools.partial(
      train_step, objective=case.objective, tx=tx, schedule=lambda s: s
    )
  )
  for k in range(3):
    batch = case.batch(_group(arrays, f"step{k}/"), dtype)
    state, metrics = step(state, batch)
    yield k, state, metrics


@pytest.mark.parametrize("path", MODELS, ids=stem)
def test_model_in_float32(path):
  meta, arrays, case = _case(path, "float32")
  state, tx = _start(meta, arrays, case, "float32")
  objective, names = case.objective, case.names
  unused = set(meta["no_grad_params"])

  batch = case.batch(_group(arrays, "step0/"), "float32")
  y = jax.jit(objective.teacher_targets)(
    state.params, state.teacher_params, batch
  )
  x = jax.jit(objective.predictions)(state.params, batch, None)
  for actual, name in ((y, "y"), (x, "x")):
    np.testing.assert_allclose(
      _masked(actual, batch), arrays[f"step0/{name}"], rtol=0, atol=1e-4
    )
  if "debug/y_full" in arrays:
    np.testing.assert_allclose(y, arrays["debug/y_full"], rtol=0, atol=1e-4)

  grads = jax.jit(
    jax.grad(
      lambda p: objective.loss(p, state.teacher_params, batch, None).value
    )
  )(state.params)
  expected = _group(arrays, "grad/")
  largest = max(np.abs(g).max() for g in expected.values())
  _close(names.to_torch(grads), expected, 3e-5 * largest, "gradient of")

  for k, now, metrics in _steps(state, case, arrays, tx, "float32"):
    expected = _group(arrays, f"step{k}/")
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
      param1 = _group(arrays, "param1/")
      param1 = {n: v for n, v in param1.items() if n not in unused}
      _close(names.to_torch(now.params), param1, 5e-5, "parameter")
      _check_teacher(meta, arrays, names, now, "teacher1/", unused)
  _check_teacher(meta, arrays, names, now, "teacher3/", unused)
  _check_fingerprint(arrays, names, now, unused)


def _check_teacher(meta, arrays, names, state, prefix, unused):
  full = names.to_torch(ema.teacher(state.params, state.teacher_params))
  expected = {
    meta["teacher_prefix"] + n: v for n, v in _group(arrays, prefix).items()
  }
  expected = {n: v for n, v in expected.items() if n not in unused}
  _close(full, expected, 1e-5, f"{prefix} teacher")


def _check_fingerprint(arrays, names, state, unused):
  ours = names.to_torch(state.params)
  rows = sorted(_group(arrays, "param/"))
  for name, row in zip(rows, arrays["param3_fingerprint"], strict=True):
    if name in unused:
      continue
    x = ours[name].astype(np.float64).reshape(-1)
    n = np.arange(1, x.size + 1)
    mine = [x.sum(), np.sqrt((x**2).sum()), (x * np.sin(n)).sum()]
    # Each entry is within 5e-5 of the reference, as param1 is.
    np.testing.assert_allclose(
      mine, row, rtol=0, atol=5e-5 * np.sqrt(x.size), err_msg=name
    )


@pytest.mark.parametrize("path", MODELS, ids=stem)
def test_model_in_float64(path, monkeypatch):
  with jax.enable_x64(True):
    meta, arrays, case = _case(path, "float64")
    for name, table in _group(arrays, "buffer/").items():
      # The reference computes it in float32, and is up to 1e-6 off the formula.
      if name.endswith("embed_positions.weights"):
        monkeypatch.setattr(
          text_models, "sinusoidal_positions", lambda *_, table=table: table
        )
    state, tx = _start(meta, arrays, case, "float64")
    batch = case.batch(_group(arrays, "step0/"), "float64")
    objective = case.objective
    y = jax.jit(objective.teacher_targets)(
      state.params, state.teacher_params, batch
    )
    x = jax.jit(objective.predictions)(state.params, batch, None)
    for actual, name in ((y, "y"), (x, "x")):
      assert actual.dtype == np.float64
      np.testing.assert_allclose(
        _masked(actual, batch),
        arrays[f"f64/step0/{name}"],
        rtol=1e-7,
        atol=1e-7,
      )
    for k, _, metrics in _steps(state, case, arrays, tx, "float64"):
      np.testing.assert_allclose(
        metrics["loss"], arrays["f64/loss"][k], rtol=1e-7
      )
      np.testing.assert_allclose(
        metrics["grad_norm"], arrays["f64/grad_norm"][k], rtol=1e-7
      )


@pytest.mark.parametrize("path", MODELS, ids=stem)
def test_features(path):
  meta, arrays, case = _case(path, "float32")
  state, _ = _start(meta, arrays, case, "float32")
  batch = case.batch(_group(arrays, "step0/"), "float32")
  output = jax.jit(case.objective.encode)(state.params, batch)
  expected = _group(arrays, "features/")
  version_2 = meta["kind"] == "v2"
  # In vision the reference keeps of each layer what its targets are made of,
  # and in version 2 always.
  made_of = version_2 or meta["kind"].startswith("vision")
  layers = (
    getattr(output, case.objective.targets.output) if made_of else output.block
  )
  prefix = "layer_result" if version_2 else "layer"
  # Tokens in front that are no places of the input; the last one is CLS.
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


@pytest.mark.parametrize(
  ("path", "group"),
  GROUPS,
  ids=stem,
)
def test_pure_function(path, group):
  meta, arrays = _load(path)
  pure.check(meta, arrays, group)


@pytest.mark.parametrize("name", recipe.names())
def test_recipe(name):
  recipe.check(name)
