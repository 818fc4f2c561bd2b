import jax
import jax.numpy as jnp
import numpy as np
import pytest

from d2v_jax.models.pooled_head import PooledHead
from d2v_jax.models.vision import vit
from d2v_jax.objectives.multi_label import MultiLabel
from tests.objectives.learning import train

LABEL = np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0], [1, 1, 1]], bool)


@pytest.fixture(scope="module")
def objective():
  encoder = vit(image_size=8, patch_size=4, width=16, depth=1, num_heads=2)
  return MultiLabel(encoder, PooledHead(num_outputs=3))


@pytest.fixture(scope="module")
def batch():
  images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8)
  return {"inputs": images, "label": LABEL}


@pytest.fixture(scope="module")
def params(objective, batch):
  params = objective.init(jax.random.key(0), batch)
  draw = np.random.default_rng(1)
  kernel = draw.normal(size=params["head"]["fc1"]["kernel"].shape)
  head = {"kernel": jnp.asarray(kernel, jnp.float32)}
  return {**params, "head": {"fc1": params["head"]["fc1"] | head}}


def test_is_binary_cross_entropy(objective, params, batch):
  scores = objective.scores(params, batch)
  p = 1 / (1 + np.exp(-np.asarray(scores, np.float64)))
  expected = -np.where(LABEL, np.log(p), np.log(1 - p)).mean()
  loss = objective.loss(params, {}, batch, None)
  np.testing.assert_allclose(loss.value, expected, rtol=1e-5)
  assert float(loss.metrics["positives"]) == 6 / 4 and float(loss.weight) == 4
  predicted = objective.predict(params, batch)
  assert predicted.dtype == bool
  np.testing.assert_array_equal(predicted, p > 0.5)


def test_learns_all_classes_of_each_example(objective, batch):
  found, state = train(objective, batch, steps=60, rate=1e-2)
  assert found[-1]["loss"] < 0.1 < found[0]["loss"]
  np.testing.assert_array_equal(objective.predict(state.params, batch), LABEL)


def test_frozen(objective, params, batch):
  frozen = MultiLabel(objective.encoder, objective.head, frozen=True)
  gradients = jax.grad(lambda p: frozen.loss(p, {}, batch, None).value)(params)
  norms = jax.tree.map(lambda g: float(jnp.abs(g).max()), gradients)
  assert norms.pop("head")["fc1"]["kernel"] > 0
  assert set(jax.tree.leaves(norms)) == {0.0}


@pytest.mark.parametrize(
  ("label", "message"),
  [
    (np.zeros(4, np.int32), r"labels must be bool \[B, U\], got int32 \[4\]"),
    (np.zeros((4, 2), bool), "head has 3 outputs, but labels have 2 classes"),
    (None, "the batch has no `label`"),
  ],
)
def test_labels_of_another_kind(objective, params, batch, label, message):
  batch = {"inputs": batch["inputs"]}
  if label is not None:
    batch["label"] = label
  with pytest.raises(ValueError, match=message):
    objective.loss(params, {}, batch, None)
