import jax
import numpy as np
import pytest
from sklearn.datasets import load_digits

from d2v_jax.evaluators import evaluate
from d2v_jax.evaluators.effective_rank import EffectiveRank
from d2v_jax.evaluators.feature_extractor import FeatureExtractor
from d2v_jax.evaluators.features import Features
from d2v_jax.evaluators.knn import Knn
from d2v_jax.evaluators.linear_probe import LinearProbe
from d2v_jax.evaluators.placed import one_device
from d2v_jax.evaluators.references import measure
from d2v_jax.models.text import text
from d2v_jax.models.vision import vit
from tests.evaluators.references.tf_idf_test import texts

SMALL = {"width": 8, "depth": 1, "num_heads": 2}
PROBE = LinearProbe(
  (0.3,), (1e-3,), steps=50, features=Features(layers="all", pool="cells:2")
)


def extractor(encoder, splits):
  def batches(split):
    x, y = splits[split]
    for i in range(0, len(x), 50):
      yield {"inputs": x[i : i + 50], "label": y[i : i + 50]}

  return FeatureExtractor(encoder, batches, jax.device_put, grid=encoder.grid)


@pytest.fixture(scope="module")
def digits():
  images, y = load_digits(return_X_y=True)
  images = np.round(images * 255 / 16).astype(np.uint8).reshape(-1, 8, 8, 1)
  return {
    "train": (images[:500], y[:500]),
    "test": (images[500:700], y[500:700]),
  }


@pytest.fixture(scope="module")
def encoder():
  return vit(image_size=8, patch_size=2, mean=(0.3,), std=(0.4,), **SMALL)


def test_pixels(digits, encoder):
  evaluators = {"knn": Knn(k=5), "probe": PROBE}
  found = measure.simple(evaluators, extractor(encoder, digits), encoder)
  assert found["knn"].keys() == {"pixels", "pixels_pooled"}
  flat = {
    k: (((x.reshape(len(x), -1) / 255 - 0.3) / 0.4).astype(np.float32), y)
    for k, (x, y) in digits.items()
  }
  assert found["knn"]["pixels"] == Knn(k=5)(flat)
  # One mean patch says little, and what is in four places more.
  pooled = {k: v["pixels_pooled"]["accuracy"] for k, v in found.items()}
  assert pooled["knn"] < 0.4 and pooled["probe"] > 0.5
  assert "best_layer" not in found["probe"]["pixels"]


def test_words():
  splits = {"train": texts(300, 0), "test": texts(100, 1)}
  encoder = text(vocab_size=20, max_tokens=10, **SMALL)
  evaluators = {"knn": Knn(), "linear_probe": LinearProbe()}
  found = measure.simple(evaluators, extractor(encoder, splits), encoder)
  for name in evaluators:
    assert found[name].keys() == {"tf_idf"}
    assert found[name]["tf_idf"]["accuracy"] > 0.8


def test_untrained(digits, encoder):
  extract = extractor(encoder, digits)
  evaluators = {"knn": Knn(k=5)}
  got = measure.untrained(evaluators, extract, encoder, one_device(), seed=3)
  batch = {"inputs": digits["test"][0][:50]}
  params = encoder.init(jax.random.key(3), batch)
  expected = evaluate(evaluators, lambda asked: extract(params, {}, asked))
  assert {f"knn/{k}": v for k, v in got["knn"].items()} == expected


def test_labels():
  y, test_y = np.array([0, 0, 0, 1, 2, 2]), np.array([0, 1, 1, 1])
  assert measure.of_labels(y, test_y) == {
    **{"classes": 3, "train": 6, "test": 4, "majority": 0.25},
    **{"chance": 1 / 3, "unequal": 1},
  }


def test_what_has_an_accuracy_is_compared():
  evaluators = {"a": Knn(), "b": EffectiveRank(), "c": PROBE}
  assert measure.compared(evaluators).keys() == {"a", "c"}


def test_results_are_taken_apart():
  results = {"a/accuracy": 0.5, "ab/accuracy": 0.6, "a/best_layer": 1.0}
  assert measure.by_evaluator({"a": Knn()}, results) == {
    "a": {"accuracy": 0.5, "best_layer": 1.0}
  }
