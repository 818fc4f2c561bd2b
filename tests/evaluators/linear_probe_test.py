import dataclasses
import functools

import numpy as np
import pytest
from scipy import stats
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from d2v_jax.evaluators.features import Features
from d2v_jax.evaluators.linear_probe import LinearProbe
from d2v_jax.training.sharding import make_mesh


@pytest.fixture(scope="module")
def digits():
  x, y = load_digits(return_X_y=True)
  rows = np.random.default_rng(0).permutation(len(x))
  x, y = x[rows].astype(np.float32), y[rows].astype(np.int32)
  return {"train": (x[:1297], y[:1297]), "test": (x[1297:], y[1297:])}


@pytest.fixture(scope="module")
def small(digits):
  return {name: (x[:200], y[:200]) for name, (x, y) in digits.items()}


def standardise(x, like):
  mean, std = like.astype(float).mean(0), like.astype(float).std(0)
  return (x - mean) / np.where(std > 0, std, 1)


def mislabelled(n=200, dim=60):
  """Two classes that one of many features tells apart, mostly."""
  rng = np.random.default_rng(0)
  y = rng.integers(0, 2, n).astype(np.int32)
  x = rng.normal(size=(n, dim))
  x[:, 0] += 4 * np.where(rng.random(n) < 0.1, 1 - y, y)
  return x.astype(np.float32), y


def separable(n=100):
  """Two classes far apart."""
  rng = np.random.default_rng(0)
  y = rng.integers(0, 2, n).astype(np.int32)
  return (rng.normal(size=(n, 2)) + 20 * y[:, None]).astype(np.float32), y


def read_in_ways(n=240, seed=0):
  """Four classes that layer 1 of cells:2 tells, and to half layer 0 of mean."""
  rng = np.random.default_rng(seed)
  splits = {}
  for split in ("train", "test"):
    y = rng.integers(0, 4, n).astype(np.int32)
    mean, cells = rng.normal(size=(n, 3, 4)), rng.normal(size=(n, 3, 16))
    mean[:, 0, 0] += 20 * (y // 2)
    cells[np.arange(n), 1, y] += 20
    splits[f"{split}/mean"] = mean.astype(np.float32), y
    splits[f"{split}/cells:2"] = cells.astype(np.float32), y
  return splits


def record_fits(monkeypatch):
  fits, fit = [], LinearProbe.fit

  def recorded(self, x, y):
    fits.append(fit(self, x, y))
    return fits[-1]

  monkeypatch.setattr(LinearProbe, "fit", recorded)
  return fits


class TestLinearProbe:
  @pytest.mark.slow
  def test_as_good_as_sklearn_with_its_best_c(self, digits):
    (x, y), (test_x, test_y) = digits["train"], digits["test"]
    accuracies = []
    for c in (0.001, 0.01, 0.1, 1.0, 10.0):
      reference = LogisticRegression(C=c, max_iter=1000)
      reference.fit(standardise(x, x), y)
      accuracies.append(reference.score(standardise(test_x, x), test_y))
    results = LinearProbe()(digits)
    assert results["accuracy"] == pytest.approx(max(accuracies), abs=0.01)
    assert results["train_accuracy"] > 0.99
    assert results["validation_accuracy"] > 0.95

  def test_converges_to_sklearn(self, small):
    x, y = small["train"]
    decay = 0.05
    # sklearn minimises C * sum of losses + half the squared norm.
    reference = LogisticRegression(C=1 / (len(x) * decay), tol=1e-10)
    reference.fit(standardise(x, x), y)
    probe, selection = LinearProbe((0.3,), (decay,)).fit(x, y)
    assert selection[:2] == (0.3, decay)
    np.testing.assert_allclose(
      probe.weights[0], reference.coef_.T, rtol=0, atol=1e-5
    )
    bias = np.asarray(probe.bias[0])
    np.testing.assert_allclose(
      bias - bias.mean(),
      reference.intercept_ - reference.intercept_.mean(),
      rtol=0,
      atol=1e-5,
    )

  def test_test_labels_change_nothing_but_the_accuracy(
    self, small, monkeypatch
  ):
    fits = record_fits(monkeypatch)
    probe = LinearProbe(steps=100)
    test_x, test_y = small["test"]
    honest = probe(small)
    shuffled = probe({**small, "test": (test_x, (test_y + 1) % 10)})
    (weights, chosen), (other_weights, other_chosen) = fits
    assert chosen == other_chosen
    for a, b in zip(weights, other_weights, strict=True):
      np.testing.assert_array_equal(a, b)
    assert honest.pop("accuracy") > 0.8
    assert shuffled.pop("accuracy") < 0.1
    assert honest == shuffled

  def test_test_features_change_nothing_but_the_accuracy(
    self, small, monkeypatch
  ):
    fits = record_fits(monkeypatch)
    probe = LinearProbe(steps=100)
    test_x, test_y = small["test"]
    probe(small)
    probe({**small, "test": (test_x * 3 + 1, test_y)})
    (weights, chosen), (other_weights, other_chosen) = fits
    assert chosen == other_chosen
    for a, b in zip(weights, other_weights, strict=True):
      np.testing.assert_array_equal(a, b)

  def test_is_deterministic_and_seeded(self, small):
    x, y = small["train"]
    first, _ = LinearProbe(steps=50, batch_size=32).fit(x, y)
    again, _ = LinearProbe(steps=50, batch_size=32).fit(x, y)
    other, _ = LinearProbe(steps=50, batch_size=32, seed=1).fit(x, y)
    np.testing.assert_array_equal(first.weights, again.weights)
    assert np.abs(first.weights - other.weights).max() > 0

  @pytest.mark.parametrize("rule", ["replicated", "fsdp"])
  def test_on_several_devices(self, small, rule):
    probe = LinearProbe(steps=50, batch_size=32)
    shared = dataclasses.replace(probe, mesh=make_mesh(8, rule))
    assert shared(small) == pytest.approx(probe(small), abs=1e-6)

  def test_several_seeds(self, small):
    make = functools.partial(LinearProbe, (0.03, 0.3), steps=5, batch_size=32)
    each = [make(seed=seed)(small) for seed in (3, 4, 5)]
    results = make(seed=3, seeds=3)(small)
    accuracies = [r.pop("accuracy") for r in each]
    mean, sem = np.mean(accuracies), stats.sem(accuracies)
    low, high = stats.t.interval(0.95, 2, loc=mean, scale=sem)
    assert sem > 0
    assert results.pop("accuracy") == pytest.approx(mean, abs=1e-12)
    assert results.pop("accuracy_low") == pytest.approx(low, abs=1e-9)
    assert results.pop("accuracy_high") == pytest.approx(high, abs=1e-9)
    assert results.pop("accuracy_std") == pytest.approx(
      np.std(accuracies, ddof=1), abs=1e-12
    )
    assert results == each[0]

  def test_one_seed_has_no_interval(self, small):
    assert list(LinearProbe(steps=5)(small)) == [
      "accuracy",
      "train_accuracy",
      "learning_rate",
      "weight_decay",
      "validation_accuracy",
    ]

  def test_scale_and_offset_of_features_do_not_matter(self, small):
    rng = np.random.default_rng(0)
    scale = 2.0 ** rng.integers(-10, 10, 64)
    scaled = {
      name: ((scale * x + 5 * scale).astype(np.float32), y)
      for name, (x, y) in small.items()
    }
    probe = LinearProbe(learning_rates=(0.1,), weight_decays=(1e-2,))
    assert probe(scaled) == pytest.approx(probe(small), abs=1e-6)

  def test_chooses_the_best_pair_on_held_out_rows(self, digits):
    x, y = digits["train"]
    # Neither a rate that learns nothing nor a decay that forbids learning.
    probe = LinearProbe((1e-8, 0.1), (1e3, 1e-3), steps=200)
    _, selection = probe.fit(x, y)
    assert selection[:2] == (0.1, 1e-3)
    # What it is compared on has not been trained on.
    noise = np.random.default_rng(0).permutation(y)
    _, selection = LinearProbe(steps=500).fit(x, noise)
    assert selection.validation_accuracy < 0.25

  @pytest.mark.parametrize("decays", [(0.0, 10.0), (10.0, 0.0)])
  def test_accuracy_chooses_against_the_loss(self, decays):
    x, y = mislabelled()
    make = functools.partial(LinearProbe, (0.1,), steps=300, holdout=0.5)
    # The one is too sure of its mistakes, the other takes all for one class.
    right, unsure = (make((decay,)).fit(x, y)[1] for decay in (0.0, 10.0))
    assert right.validation_accuracy > unsure.validation_accuracy + 0.1
    assert right.validation_loss > unsure.validation_loss + 0.1
    _, selection = make(decays).fit(x, y)
    assert tuple(selection) == pytest.approx(tuple(right), rel=1e-3)

  @pytest.mark.parametrize("rates", [(0.001, 0.1), (0.1, 0.001)])
  def test_the_loss_chooses_between_equal_accuracies(self, rates):
    x, y = separable()
    make = functools.partial(LinearProbe, weight_decays=(0.0,), steps=50)
    slow, fast = (make((rate,)).fit(x, y)[1] for rate in (0.001, 0.1))
    assert slow.validation_accuracy == fast.validation_accuracy == 1
    assert slow.validation_loss > fast.validation_loss + 0.1
    _, selection = make(rates).fit(x, y)
    assert tuple(selection) == pytest.approx(tuple(fast), rel=1e-3)

  def test_no_diverged_pair_is_chosen(self, small):
    # A step times the decay far above 2 multiplies the weights each time.
    probe = LinearProbe((100.0, 0.1), (1.0,), steps=200)
    fitted, selection = probe.fit(*small["train"])
    assert selection.learning_rate == 0.1
    assert np.isfinite(fitted.weights).all()

  def test_constant_features_are_harmless(self):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 100).astype(np.int32)
    x = np.stack([y - 0.5, np.full(100, 0.1), np.zeros(100)], 1)
    x = x.astype(np.float32)
    splits = {"train": (x, y), "test": (x, y)}
    assert LinearProbe(steps=50)(splits)["accuracy"] == 1.0

  def test_no_labels(self, small):
    x, _ = small["train"]
    with pytest.raises(ValueError, match="split 'train' has no labels"):
      LinearProbe()({**small, "train": (x, None)})

  def test_too_few_rows_to_hold_some_out(self, small):
    x, y = small["train"]
    with pytest.raises(
      ValueError, match=r"holdout 0.1 of 3 training examples leaves 0 to choos"
    ):
      LinearProbe().fit(x[:3], y[:3])

  @pytest.mark.parametrize(
    ("kwargs", "message"),
    [
      ({"learning_rates": ()}, "give at least one of each"),
      ({"weight_decays": ()}, "give at least one of each"),
      (
        {"steps": 0},
        "steps is 0, batch_size 512 and seeds 1; each must be at least 1",
      ),
      ({"batch_size": 0}, "batch_size 0 and seeds 1; each must be at least 1"),
      ({"seeds": 0}, "seeds 0; each must be at least 1"),
      ({"holdout": 1.0}, "holdout is 1.0; choose a share"),
    ],
  )
  def test_arguments(self, kwargs, message):
    with pytest.raises(ValueError, match=message):
      LinearProbe(**kwargs)


class TestChoiceOfReading:
  CHOICES = Features(layers="all", pool=("mean", "cells:2"))
  PROBE = LinearProbe(
    learning_rates=(0.3,), weight_decays=(1e-3,), steps=100, features=CHOICES
  )

  def test_layer_and_pooling_together(self):
    splits = read_in_ways()
    results = self.PROBE(splits)
    assert (results["best_layer"], results["best_pool"]) == (1, 1)
    assert results["validation_accuracy_cells:2"] == 1
    assert 0.3 < results["validation_accuracy_mean"] < 0.8
    # All that is measured is of the chosen ones.
    alone = {k: splits[f"{k}/cells:2"] for k in ("train", "test")}
    alone = {k: (x[:, 1], y) for k, (x, y) in alone.items()}
    expected = dataclasses.replace(self.PROBE, features=Features())(alone)
    assert expected.items() <= results.items()
    assert results["accuracy"] > 0.98

  @pytest.mark.parametrize(
    ("pool", "names"),
    [("mean", {"best_layer"}), (("mean",), {"best_layer", "best_pool"})],
  )
  def test_what_was_no_choice_is_not_told(self, pool, names):
    splits = read_in_ways()
    if pool == "mean":
      splits = {k: splits[f"{k}/mean"] for k in ("train", "test")}
    features = Features(layers="all", pool=pool)
    results = dataclasses.replace(self.PROBE, features=features)(splits)
    assert {k for k in results if k.startswith("best")} == names
    assert results["best_layer"] == 0

  def test_poolings_of_one_layer(self):
    splits = {k: (x[:, 1], y) for k, (x, y) in read_in_ways().items()}
    features = Features(pool=("cells:2", "mean"))
    results = dataclasses.replace(self.PROBE, features=features)(splits)
    assert results["best_pool"] == 0 and "best_layer" not in results

  def test_of_equals_the_first(self):
    splits = read_in_ways()
    splits |= {f"{k}/cells:2": splits[f"{k}/mean"] for k in ("train", "test")}
    splits = {k: (np.repeat(x[:, :1], 3, 1), y) for k, (x, y) in splits.items()}
    results = self.PROBE(splits)
    assert (results["best_layer"], results["best_pool"]) == (0, 0)

  def test_the_test_split_chooses_nothing(self):
    splits = read_in_ways()
    # There, mean tells the classes, and cells:2 nothing.
    other = read_in_ways(seed=1)
    x, y = splits["test/mean"]
    x[np.arange(len(x)), :, y] += 50
    splits["test/cells:2"] = other["train/cells:2"][0], y
    results = self.PROBE(splits)
    assert (results["best_layer"], results["best_pool"]) == (1, 1)
    assert results["accuracy"] < 0.5

  def test_each_seed_chooses(self):
    probe = dataclasses.replace(self.PROBE, seeds=3)
    results = probe(read_in_ways())
    assert results["best_pool"] == 1
    assert results["accuracy_low"] <= results["accuracy"]

  def test_features_of_one_layer_where_all_are_asked_for(self):
    splits = {k: (x[:, 0], y) for k, (x, y) in read_in_ways().items()}
    with pytest.raises(
      ValueError, match=r"shape \(240, 4\); \[n, L \+ 1, E\] is needed"
    ):
      self.PROBE(splits)
