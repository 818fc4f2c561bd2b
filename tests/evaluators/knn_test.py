import jax
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

from d2v_jax.evaluators import knn
from d2v_jax.evaluators.features import Features
from d2v_jax.evaluators.knn import Knn, knn_predict
from d2v_jax.models.hardware import placement
from d2v_jax.training.sharding import make_mesh


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
    classes = len(set(labels.tolist()))
    found = Knn(k=1)(splits)
    assert found.pop("accuracy") == 0.0
    assert found == {"classes": classes, "trained_classes": classes}

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


class TestManyRows:
  @pytest.mark.parametrize("rule", ["replicated", "fsdp"])
  @pytest.mark.parametrize("tile", [7, 2**14])
  def test_a_bank_in_parts_predicts_the_same(self, rule, tile, monkeypatch):
    monkeypatch.setattr(knn, "_TILE", tile)
    bank, labels = make_clusters(501, seed=0)
    x, y = make_clusters(300, seed=1)
    expected = sklearn_predict(bank, labels, x, 20, 0.07)
    evaluator = Knn(mesh=make_mesh(8, rule))
    splits = {"train": (bank, labels), "test": (x, y)}
    assert evaluator(splits) == {"accuracy": np.mean(expected == y)}
    predictions = knn_predict(bank, labels, x, 20, 0.07, evaluator.mesh)
    np.testing.assert_array_equal(predictions, expected)

  def test_more_devices_than_neighbours_and_rows_of_each(self, monkeypatch):
    monkeypatch.setattr(knn, "_TILE", 2)
    bank, labels = make_clusters(19, seed=0)
    x, _ = make_clusters(40, seed=1)
    np.testing.assert_array_equal(
      knn_predict(bank, labels, x, 19, 0.5, make_mesh(8)),
      sklearn_predict(bank, labels, x, 19, 0.5),
    )

  @pytest.mark.parametrize("tile", [3, 2**14])
  def test_of_equal_rows_the_first_ones_vote(self, tile, monkeypatch):
    monkeypatch.setattr(knn, "_TILE", tile)
    bank = np.tile(np.array([[3, 4]], np.float32), (40, 1))
    labels = np.arange(40, dtype=np.int32)
    labels[:5] = [9, 7, 8, 7, 9]
    for mesh in (None, make_mesh(8)):
      predicted = [knn_predict(bank, labels, bank, k, 1, mesh) for k in (3, 4)]
      assert [set(p.tolist()) for p in predicted] == [{7}, {7}]
      assert set(knn_predict(bank, labels, bank, 1, 1, mesh)) == {9}

  @pytest.mark.parametrize("devices", [1, 8])
  @pytest.mark.parametrize("rows", [1, 7, 64_000, 1_281_167])
  def test_tiles_are_small_and_hardly_filled_up(self, rows, devices):
    total, tile = knn._tiling(rows, devices)
    assert tile <= 2**14 and total % (devices * tile) == 0
    tiles = total // tile
    assert rows <= total < rows + tiles

  @pytest.mark.parametrize("devices", [1, 8])
  def test_memory_beside_the_bank_does_not_grow_with_it(self, devices):
    mesh = make_mesh(devices)

    def shape(dims, dtype, *spec):
      sharding = NamedSharding(mesh, P(*spec))
      return jax.ShapeDtypeStruct(dims, dtype, sharding=sharding)

    def temporary(tiles):
      rows = devices * tiles * 2**14
      program = knn._predict.lower(
        shape((rows, 768), "float32", *placement.EXAMPLES),
        shape((rows,), "int32", *placement.EXAMPLES),
        shape((256, 768), "float32"),
        shape((), "int32"),
        shape((), "float32"),
        mesh=mesh,
        k=20,
        num_classes=1000,
        tile=2**14,
      )
      return program.compile().memory_analysis().temp_size_in_bytes

    # Normalised rows [2**14, 768] and cosines [256, 2**14] are 67 MB of them.
    assert temporary(80) <= temporary(2) + 2**20 <= 100e6


def read_in_ways(n, seed):
  """Classes that are told by layer 1 of `cells:2` alone."""
  rng = np.random.default_rng(seed)
  y = rng.integers(0, 4, n).astype(np.int32)
  told = 4 * np.eye(4)[y] + 0.1 * rng.normal(size=(n, 4))
  noise = rng.normal(size=(3, n, 4))
  return {
    "mean": (np.stack([noise[0], noise[1]], 1).astype(np.float32), y),
    "cells:2": (np.stack([noise[2], told], 1).astype(np.float32), y),
  }


class TestChoice:
  CHOICES = Features(layers="all", pool=("mean", "cells:2"))

  def splits(self, test_seed=1):
    return {
      f"{split}/{pool}": value
      for split, n, seed in (("train", 200, 0), ("test", 50, test_seed))
      for pool, value in read_in_ways(n, seed).items()
    }

  def test_layer_and_pooling_together(self):
    results = Knn(k=5, features=self.CHOICES)(self.splits())
    assert (results["best_layer"], results["best_pool"]) == (1, 1)
    assert results["validation_accuracy_cells:2"] == 1
    assert results["validation_accuracy_mean"] < 0.6
    assert results["validation_accuracy"] == results["accuracy"] == 1

  def test_the_test_split_chooses_nothing(self):
    splits = self.splits()
    x, y = splits["test/cells:2"]
    splits["test/cells:2"] = x[:, ::-1], y
    results = Knn(k=5, features=self.CHOICES)(splits)
    assert (results["best_layer"], results["best_pool"]) == (1, 1)
    assert results["accuracy"] < 0.6

  def test_held_out_rows_are_not_their_own_neighbours(self):
    x = np.random.default_rng(0).normal(size=(100, 8)).astype(np.float32)
    y = (np.arange(100) % 4).astype(np.int32)
    assert Knn(k=1).validation_accuracy(x, y) < 0.9

  def test_few_examples_are_enough_to_choose_on(self):
    splits = self.splits()
    few = {
      k: (x[:20], y[:20]) if k.startswith("train") else (x, y)
      for k, (x, y) in splits.items()
    }
    results = Knn(k=20, features=self.CHOICES)(few)  # 18 are left
    assert (results["best_layer"], results["best_pool"]) == (1, 1)

  def test_where_classes_are_unequal(self):
    x = np.eye(2, dtype=np.float32)[[0] * 8 + [1] * 2]
    y = np.array([0] * 8 + [1] * 2, np.int32)
    results = Knn(k=1)({"train": (x, y), "test": (x, 0 * y + y)})
    assert results["balanced_accuracy"] == 1
    assert results["accuracy_of_class_01"] == 1

  def test_a_share_that_is_none(self):
    with pytest.raises(ValueError, match=r"holdout is 1; choose a share of th"):
      Knn(holdout=1)
