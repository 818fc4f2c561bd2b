import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

from d2v_jax.evaluators.features import Features
from d2v_jax.evaluators.knn import Knn, knn_predict


def make_clusters(n, seed, classes=5, dim=16):
  """Overlapping classes, so that votes are divided."""
  rng = np.random.default_rng(seed)
  centres = np.random.default_rng(100).normal(size=(classes, dim))
  y = rng.integers(0, classes, n).astype(np.int32)
  x = centres[y] + 1.5 * rng.normal(size=(n, dim))
  return x.astype(np.float32), y


def sklearn_predict(bank, labels, x, k, temperature):
  reference = KNeighborsClassifier(
    k,
    metric="cosine",
    algorithm="brute",
    weights=lambda distance: np.exp((1 - distance) / temperature),
  )
  return reference.fit(bank.astype(float), labels).predict(x.astype(float))


class TestKnn:
  @pytest.mark.parametrize("k", [1, 5, 20])
  @pytest.mark.parametrize("temperature", [0.07, 1.0])
  def test_predictions_equal_sklearn(self, k, temperature):
    bank, labels = make_clusters(500, seed=0)
    # Neither a multiple of the chunk nor less than one.
    x, y = make_clusters(600, seed=1)
    predictions = knn_predict(bank, labels, x, k, temperature)
    expected = sklearn_predict(bank, labels, x, k, temperature)
    np.testing.assert_array_equal(predictions, expected)
    assert predictions.dtype == np.int32
    splits = {"train": (bank, labels), "test": (x, y)}
    accuracy = Knn(k=k, temperature=temperature)(splits)
    assert accuracy == {"accuracy": np.mean(expected == y)}

  def test_digits(self):
    x, y = load_digits(return_X_y=True)
    x = x.astype(np.float32)
    splits = {"train": (x[:1300], y[:1300]), "test": (x[1300:], y[1300:])}
    expected = sklearn_predict(x[:1300], y[:1300], x[1300:], 20, 0.07)
    assert Knn()(splits) == {"accuracy": np.mean(expected == y[1300:])}

  def test_a_close_neighbour_outvotes_two_far_ones(self):
    bank = np.array([[1, 0], [1, 1], [1, 1]], np.float32)
    labels = np.array([1, 0, 0], np.int32)
    x = np.array([[1, 0.1]], np.float32)
    assert knn_predict(bank, labels, x, 3, 0.07) == [1]
    assert knn_predict(bank, labels, x, 3, 100.0) == [0]

  def test_equal_votes_go_to_the_smaller_class(self):
    bank = np.array([[1, 0], [1, 0]], np.float32)
    labels = np.array([2, 1], np.int32)
    assert knn_predict(bank, labels, bank, 2, 0.07).tolist() == [1, 1]

  def test_lengths_of_features_do_not_matter(self):
    bank, labels = make_clusters(100, seed=0)
    x, _ = make_clusters(50, seed=1)
    scale = 2.0 ** np.random.default_rng(0).integers(-8, 8, (100, 1))
    np.testing.assert_array_equal(
      knn_predict(bank, labels, x, 5, 0.07),
      knn_predict((bank * scale).astype(np.float32), labels, x * 64, 5, 0.07),
    )

  def test_zero_features_have_a_prediction(self):
    bank, labels = make_clusters(30, seed=0)
    x = np.zeros((2, 16), np.float32)
    bank[0] = 0
    assert set(knn_predict(bank, labels, x, 5, 0.07)) <= set(labels)

  def test_class_that_is_only_in_the_test_split(self):
    bank, labels = make_clusters(30, seed=0)
    splits = {"train": (bank, labels), "test": (bank, labels + 5)}
    assert Knn(k=1)(splits) == {"accuracy": 0.0}

  def test_no_labels(self):
    bank, labels = make_clusters(30, seed=0)
    with pytest.raises(ValueError, match="split 'test' has no labels"):
      Knn()({"train": (bank, labels), "test": (bank, None)})

  def test_k_larger_than_the_bank(self):
    bank, labels = make_clusters(10, seed=0)
    with pytest.raises(
      ValueError, match="k is 20 but the training split has 10 examples; "
    ):
      Knn()({"train": (bank, labels), "test": (bank, labels)})

  @pytest.mark.parametrize("kwargs", [{"k": 0}, {"temperature": 0.0}])
  def test_arguments(self, kwargs):
    with pytest.raises(ValueError, match="k must be at least 1 and the temp"):
      Knn(**kwargs)


def test_all_layers_are_another_evaluator_s():
  with pytest.raises(ValueError, match=r"Knn: features\.layers is 'all', and"):
    Knn(features=Features(layers="all"))
