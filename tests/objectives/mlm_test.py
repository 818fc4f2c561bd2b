import functools

import jax
import numpy as np
import pytest

from d2v_jax.data.masks.text import TokenMask
from d2v_jax.data.text.transform import TextTrainTransform
from d2v_jax.models.heads import TokenHead
from d2v_jax.models.text import text
from d2v_jax.models.vision import vit
from d2v_jax.objectives.mlm import Mlm
from tests.objectives import learning
from tests.reference import data2vec as reference

VOCAB, WIDTH, HEADS = 13, 8, 2


def make(dtype="float32", **kwargs):
  network = text(
    vocab_size=VOCAB,
    max_tokens=12,
    width=WIDTH,
    depth=2,
    num_heads=HEADS,
    mlp_ratio=2,
    compute_dtype=dtype,
  )
  return Mlm(network, TokenHead(dtype), **kwargs)


def make_batch():
  """Three texts, two of them padded; hidden, replaced and kept tokens."""
  rng = np.random.default_rng(0)
  inputs = rng.integers(4, VOCAB - 1, (3, 10)).astype(np.int32)
  for row, length in zip(inputs, (10, 7, 6), strict=True):
    row[length:] = 1
  selected = np.zeros((3, 10), bool)
  for row, places in zip(selected, ((1, 4, 7, 8), (0, 3), (2, 5)), strict=True):
    row[list(places)] = True
  mask = selected.copy()
  mask[0, 4] = mask[1, 3] = False
  student = np.where(mask, VOCAB - 1, inputs).astype(np.int32)
  student[0, 4] = 5 if inputs[0, 4] != 5 else 6
  return {
    "inputs": inputs,
    "student_inputs": student,
    "mask": mask,
    "selected": selected,
  }


def draw(objective, batch, dtype="float64"):
  rng = np.random.default_rng(1)
  shapes = jax.eval_shape(objective.init, jax.random.key(0), batch)
  return jax.tree.map(
    lambda s: (0.4 * rng.normal(size=s.shape)).astype(dtype), shapes
  )


@functools.cache
def start():
  return jax.jit(make().init)(jax.random.key(0), make_batch())


@functools.cache
def loss_of(max_selected=1.0):
  """(params, batch) -> Loss."""
  objective = make(max_selected=max_selected)
  return jax.jit(lambda p, batch: objective.loss(p, {}, batch, None))


def layer(tree, i):
  return jax.tree.map(lambda x: x[i], tree)


def logits(params, tokens):
  """One text without padding, in NumPy."""

  def norm(x, p):
    return reference.layer_norm(x, p["scale"], p["bias"])

  embedding = params["feature_encoder"]["embedding"]
  x = embedding[tokens] + params["position_embedding"][2 : 2 + len(tokens)]
  x = norm(x, params["embedding_norm"])[None]
  for i in range(2):
    p = layer(params["blocks"], i)
    x = norm(x + reference.attention(x, p["attention"], HEADS, 0.0), p["norm1"])
    x = norm(x + reference.mlp(x, p["mlp"]), p["norm2"])
  head = params["head"]
  x = reference.gelu(x @ head["fc1"]["kernel"] + head["fc1"]["bias"])
  return norm(x, head["norm"])[0] @ embedding.T + head["bias"]


@pytest.mark.parametrize("keys", ["selected", "mask"])
def test_loss_is_the_formula(keys):
  batch = make_batch()
  with jax.enable_x64(True):
    objective = make("float64")
    params = draw(objective, batch)
    given = batch if keys == "selected" else dict(batch)
    if keys == "mask":
      del given["selected"]
    loss, weight, metrics = jax.jit(objective.loss)(params, {}, given, None)
  errors, right = [], []
  for inputs, student, chosen in zip(
    batch["inputs"], batch["student_inputs"], batch[keys], strict=True
  ):
    real = (student != 1).sum()
    x = logits(params, student[:real])
    log_p = x - np.log(np.exp(x).sum(-1, keepdims=True))
    for n in np.flatnonzero(chosen):
      errors.append(-log_p[n, inputs[n]])
      right.append(x[n].argmax() == inputs[n])
  np.testing.assert_allclose(loss, np.mean(errors), rtol=1e-9)
  np.testing.assert_allclose(metrics["accuracy"], np.mean(right), rtol=1e-9)
  assert len(errors) == {"selected": 8, "mask": 6}[keys]
  assert float(weight) == len(errors)
  assert float(metrics["left_out"]) == 0


def test_gradient_is_the_difference_quotient():
  with jax.enable_x64(True):
    objective, batch = make("float64"), make_batch()
    learning.assert_gradient(
      lambda p: objective.loss(p, {}, batch, None).value, draw(objective, batch)
    )


def test_the_embedding_is_the_output_matrix_too():
  params, batch = start(), make_batch()
  assert jax.tree.map(np.shape, params["head"]) == {
    "fc1": {"kernel": (WIDTH, WIDTH), "bias": (WIDTH,)},
    "norm": {"scale": (WIDTH,), "bias": (WIDTH,)},
    "bias": (VOCAB,),
  }
  grads = jax.jit(jax.grad(lambda p: make().loss(p, {}, batch, None).value))
  grads = grads(params)
  rows = np.abs(grads["feature_encoder"]["embedding"]).max(-1)
  # Each token is a possible answer, also one that no text has.
  assert (rows > 0).all()


def test_fewer_logits_are_the_same_loss():
  params, batch = start(), make_batch()
  whole, weight, metrics = loss_of()(params, batch)
  small, same_weight, same = loss_of(0.4)(params, batch)
  assert same_weight == weight
  np.testing.assert_allclose(small, whole, rtol=1e-6)
  for name, value in metrics.items():
    np.testing.assert_allclose(same[name], value, rtol=1e-6)


def test_what_there_is_no_place_for_is_counted():
  params, batch = start(), make_batch()
  loss, weight, metrics = loss_of(0.3)(params, batch)
  assert metrics["left_out"] == 1 / 8
  assert weight == 7
  fewer = batch["selected"].copy()
  fewer[0, 8] = False
  batch = {**batch, "selected": fewer}
  same = loss_of()(params, batch).value
  np.testing.assert_allclose(loss, same, rtol=1e-6)


def test_hidden_tokens_are_not_read():
  params, batch = start(), make_batch()
  read = batch["student_inputs"].copy()
  read[batch["mask"]] = 7

  @jax.jit
  def tokens(student):
    given = {**batch, "student_inputs": student}
    return make().encoder(params, given, mask=batch["mask"]).tokens

  np.testing.assert_array_equal(tokens(batch["student_inputs"]), tokens(read))


def test_tokens_that_are_not_selected_are_not_scored():
  params, batch = start(), make_batch()
  labels = np.where(batch["selected"], batch["inputs"], 9).astype(np.int32)
  loss = loss_of()(params, batch).value
  same = loss_of()(params, {**batch, "inputs": labels}).value
  assert loss == same


@pytest.mark.slow
def test_it_learns_from_batches_of_the_pipeline():
  transform = TextTrainTransform(VOCAB, TokenMask(0.3, random=0.2, keep=0.2))
  rng = np.random.default_rng(0)
  rows = []
  for i in range(4):
    tokens = np.array([0, *rng.integers(4, VOCAB - 1, 9), 2], np.int32)
    example = {"tokens": tokens, "length": 12, "requested": i, "record": i}
    rows.append(transform(example, rng))
  batch = {k: np.stack([r[k] for r in rows]) for k in rows[0]}
  batch = {k: v for k, v in batch.items() if k not in ("requested", "record")}
  metrics, state = learning.train(make(), batch, 60, rate=1e-2)
  assert metrics[0]["loss"] > 0.8 * np.log(VOCAB)
  assert metrics[-1]["loss"] < 0.2
  assert metrics[-1]["accuracy"] == 1
  assert state.teacher_params == {}


class TestErrors:
  def test_no_mask(self):
    objective, batch = make(), make_batch()
    del batch["mask"]
    with pytest.raises(ValueError, match=r"no mask; set config\.data\.mask"):
      objective.loss({}, {}, batch, None)

  def test_several_masks(self):
    objective, batch = make(), make_batch()
    batch["mask"] = np.stack([batch["mask"]] * 2, 1)
    with pytest.raises(ValueError, match=r"got \[3, 2, 10\]; set .*='tokens'"):
      objective.loss({}, {}, batch, None)

  def test_other_inputs_than_text(self):
    network = vit(image_size=8, patch_size=4, width=8, depth=1, num_heads=2)
    objective = Mlm(network, TokenHead())
    batch = {"inputs": np.zeros((1, 8, 8, 3), np.float32)}
    with pytest.raises(
      ValueError, match=r"no token embedding; set config\.mod"
    ):
      jax.jit(objective.init)(jax.random.key(0), batch)

  @pytest.mark.parametrize("share", [0.0, 1.5])
  def test_share(self, share):
    with pytest.raises(ValueError, match=rf"in \(0, 1\], got {share}"):
      make(max_selected=share)
