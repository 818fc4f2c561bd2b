from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import PredefinedSplit, cross_val_predict

from d2v_jax.evaluators import low_shot
from d2v_jax.evaluators.features import Features
from d2v_jax.evaluators.low_shot import LowShot, draw
from d2v_jax.training.sharding import make_mesh


def make_split(seed, noise=1.5, n=600, classes=4, dim=12):
  rng = np.random.default_rng(seed)
  centres = np.random.default_rng(100).normal(size=(classes, dim))
  y = rng.integers(0, classes, n).astype(np.int32)
  x = 3 * (centres[y] + noise * rng.normal(size=(n, dim))) + 1
  return x.astype(np.float32), y


@pytest.fixture(scope="module")
def splits():
  return {"train": make_split(0), "test": make_split(1)}


def standardise(x, like):
  like = like.astype(float)
  return (x - like.mean(0)) / like.std(0)


def record(monkeypatch, name):
  """What a function of the module was given and returned, call by call."""
  calls, function = [], getattr(low_shot, name)

  def recorded(*args, **kwargs):
    calls.append((args, function(*args, **kwargs)))
    return calls[-1][1]

  monkeypatch.setattr(low_shot, name, recorded)
  return calls


def sklearn_fit(x, y, decay):
  # sklearn minimises C * sum of losses + half the squared norm.
  reference = LogisticRegression(
    C=1 / (len(x) * decay), tol=1e-10, max_iter=10_000
  )
  return reference.fit(x, y)


class TestLowShot:
  @pytest.mark.parametrize("noise", [0.2, 1.5])  # separable, overlapping
  @pytest.mark.parametrize("decay", [1e-3, 0.1])
  def test_converges_to_sklearn(self, noise, decay, monkeypatch):
    (x, y), (test_x, test_y) = make_split(0, noise), make_split(1, noise)
    scored = record(monkeypatch, "score")
    evaluator = LowShot((10,), (), weight_decays=(decay,), seeds=2, seed=5)
    results = evaluator({"train": (x, y), "test": (test_x, test_y)})
    accuracies = []
    for seed, ((probe, *_), _) in zip((5, 6), scored, strict=True):
      rows, _ = draw(y, np.full(4, 10), seed)
      reference = sklearn_fit(standardise(x[rows], x), y[rows], decay)
      # A gradient of norm g is at most g / decay away from the minimum.
      np.testing.assert_allclose(
        probe.weights[0], reference.coef_.T, rtol=0, atol=3e-5 / decay
      )
      bias = np.asarray(probe.bias[0])
      np.testing.assert_allclose(
        bias - bias.mean(), reference.intercept_, rtol=0, atol=3e-5 / decay
      )
      accuracies.append(reference.score(standardise(test_x, x), test_y))
    assert results["shots_10"] == pytest.approx(np.mean(accuracies), abs=2e-3)

  @pytest.mark.slow
  @pytest.mark.parametrize("rule", ["replicated", "fsdp"])
  def test_on_several_devices(self, splits, rule, monkeypatch):
    scored = record(monkeypatch, "score")
    evaluator = LowShot((1, 5), (0.1,), (0.01, 0.1), seeds=1)
    mesh = make_mesh(8, rule)
    one, eight = (e(splits) for e in (evaluator, replace(evaluator, mesh=mesh)))
    assert one == eight
    # Both are at most so far from the minimum, see above.
    for (a, _), (b, _) in zip(scored[:3], scored[3:], strict=True):
      np.testing.assert_allclose(
        a[0].weights, b[0].weights, rtol=0, atol=3e-5 / 0.01
      )

  def test_interval_is_over_draws(self, splits):
    each = [LowShot((1,), (), seeds=1, seed=s)(splits) for s in (2, 3, 4)]
    assert [list(results) for results in each] == [["shots_1"]] * 3
    values = [results["shots_1"] for results in each]
    mean, sem = np.mean(values), stats.sem(values)
    low, high = stats.t.interval(0.95, 2, loc=mean, scale=sem)
    assert sem > 0
    assert LowShot((1,), (), seeds=3, seed=2)(splits) == pytest.approx(
      {"shots_1": mean, "shots_1_low": low, "shots_1_high": high}, abs=1e-9
    )

  @pytest.mark.parametrize(("shots", "folds"), [(2, 2), (10, 5)])
  def test_chooses_by_stratified_cross_validation(
    self, splits, shots, folds, monkeypatch
  ):
    (x, y), decays = splits["train"], (1e-3, 0.03, 1.0)
    scored = record(monkeypatch, "score")
    LowShot((shots,), (), decays, seeds=2)(splits)
    for seed, ((probe, *_), _) in zip((0, 1), scored, strict=True):
      rows, places = draw(y, np.full(4, shots), seed)
      some_x, some_y = standardise(x[rows], x), y[rows]
      held_out, losses = PredefinedSplit(places % folds), []
      for decay in decays:
        n = len(rows) * (folds - 1) / folds
        predicted = cross_val_predict(
          LogisticRegression(C=1 / (n * decay), max_iter=1000),
          some_x,
          some_y,
          cv=held_out,
          method="predict_proba",
        )
        losses.append(log_loss(some_y, predicted))
      best = decays[np.argmin(losses)]
      reference = sklearn_fit(some_x, some_y, best)
      np.testing.assert_allclose(
        probe.weights[0], reference.coef_.T, rtol=0, atol=3e-5 / best
      )

  def test_one_of_a_class_takes_the_fixed_decay(self, splits, monkeypatch):
    x, y = splits["train"]
    scored = record(monkeypatch, "score")
    LowShot((1,), (), seeds=1)(splits)
    LowShot((1,), (), weight_decays=(10.0,), seeds=1)(splits)
    rows, _ = draw(y, np.ones(4, int), 0)
    reference = sklearn_fit(standardise(x[rows], x), y[rows], 0.01)
    for (probe, *_), _ in scored:
      np.testing.assert_allclose(
        probe.weights[0], reference.coef_.T, rtol=0, atol=3e-5 / 0.01
      )

  def test_all_examples_are_better_than_few(self, splits):
    evaluator = LowShot((1, 10), (1.0,), weight_decays=(0.1,), seeds=3)
    results = evaluator(splits)
    assert results["shots_1"] < results["shots_10"] < results["share_1.0"]
    # All of them are the same draw in another order.
    width = results["share_1.0_high"] - results["share_1.0_low"]
    assert width < 1e-2

  def test_shares_are_of_each_class_and_at_least_one(self, monkeypatch):
    y = np.repeat([0, 1, 2], [250, 100, 3]).astype(np.int32)
    x = np.random.default_rng(0).normal(size=(len(y), 4)).astype(np.float32)
    drawn = record(monkeypatch, "draw")
    monkeypatch.setattr(
      LowShot, "_fit", lambda *_: (np.zeros((4, 3)), np.zeros(3))
    )
    splits = {"train": (x, y), "test": (x, y)}
    LowShot((), (0.01, 0.1), seeds=1)(splits)
    counts = [np.bincount(y[rows]).tolist() for _, (rows, _) in drawn]
    assert counts == [[2, 1, 1], [25, 10, 1]]

  def test_test_split_changes_nothing_but_the_accuracy(
    self, splits, monkeypatch
  ):
    scored = record(monkeypatch, "score")
    test_x, test_y = splits["test"]
    evaluator = LowShot((1, 10), (), (1e-3, 0.03, 1.0), seeds=1)
    evaluator(splits)
    evaluator({**splits, "test": (-test_x, (test_y + 1) % 4)})
    for (a, _), (b, _) in zip(scored[:2], scored[2:], strict=True):
      for array, same in zip(a[0], b[0], strict=True):
        np.testing.assert_array_equal(array, same)

  def test_class_numbers_may_have_gaps(self, splits):
    numbers = np.array([1, 2, 5, 9], np.int32)
    renamed = {k: (x, numbers[y]) for k, (x, y) in splits.items()}
    evaluator = LowShot((1,), (), seeds=2)
    assert evaluator(renamed) == evaluator(splits)

  @pytest.mark.parametrize("new", [0, 3, 99])
  def test_class_that_was_not_trained_is_a_mistake(self, splits, new):
    numbers = np.array([1, 2, 5, 9], np.int32)
    (x, y), (test_x, test_y) = splits["train"], splits["test"]
    test_y = np.full_like(test_y, new)
    unknown = {"train": (x, numbers[y]), "test": (test_x, test_y)}
    assert LowShot((1,), (), seeds=1)(unknown) == {"shots_1": 0.0}

  def test_too_few_of_a_class(self):
    y = np.repeat([0, 3, 7], [20, 4, 6]).astype(np.int32)
    x = np.random.default_rng(0).normal(size=(len(y), 4)).astype(np.float32)
    with pytest.raises(
      ValueError,
      match=r"LowShot: per_class is \(1, 5\), but class 3 has 4 training "
      "examples; choose at most 4, or add examples",
    ):
      LowShot((1, 5))({"train": (x, y), "test": (x, y)})

  def test_one_class(self, splits):
    x, y = splits["train"]
    one = {**splits, "train": (x, y * 0 + 2)}
    with pytest.raises(ValueError, match="training split has class 2 only"):
      LowShot()(one)

  def test_no_labels(self, splits):
    x, _ = splits["train"]
    with pytest.raises(ValueError, match="split 'train' has no labels"):
      LowShot()({**splits, "train": (x, None)})

  @pytest.mark.parametrize(
    ("kwargs", "message"),
    [
      ({"per_class": (), "fractions": ()}, "are both empty; give at least one"),
      ({"per_class": (0,)}, r"per_class is \(0,\); choose whole numbers"),
      ({"per_class": (0.1,)}, r"per_class is \(0.1,\); choose whole numbers"),
      ({"fractions": (0.0,)}, r"fractions is \(0.0,\); choose shares"),
      ({"fractions": (10,)}, r"fractions is \(10,\); choose shares"),
      ({"weight_decays": ()}, r"weight_decays is \(\); give at least one"),
      ({"weight_decays": (0.0,)}, "all above 0, without which"),
      ({"seeds": 0}, "seeds is 0; it must be at least 1"),
      (
        {"features": Features(layers="all")},
        "LowShot: features.layers is 'all', .* with LayerCurve",
      ),
    ],
  )
  def test_arguments(self, kwargs, message):
    with pytest.raises(ValueError, match=message):
      LowShot(**kwargs)


class TestDraw:
  Y = np.array([2, 0, 1, 0, 2, 2, 0, 1, 2, 0])

  def test_as_many_as_asked_of_each_class(self):
    rows, places = draw(self.Y, np.array([3, 1, 2]), seed=0)
    assert self.Y[rows].tolist() == [0, 0, 0, 1, 2, 2]
    assert places.tolist() == [0, 1, 2, 0, 0, 1]
    assert len(set(rows.tolist())) == 6

  def test_by_hand(self):
    # The order of seed 0; its zeros are at 6, 3, ..., its ones at 2, ...
    order = np.random.default_rng(0).permutation(10)
    by_class = [[row for row in order if self.Y[row] == c] for c in range(3)]
    rows, _ = draw(self.Y, np.array([2, 1, 4]), seed=0)
    expected = [*by_class[0][:2], by_class[1][0], *by_class[2]]
    assert rows.tolist() == expected

  def test_smaller_draws_are_parts_of_larger_ones(self):
    small, _ = draw(self.Y, np.array([1, 1, 1]), seed=3)
    large, _ = draw(self.Y, np.array([3, 2, 2]), seed=3)
    assert set(small.tolist()) < set(large.tolist())

  def test_is_deterministic_and_seeded(self):
    counts = np.array([2, 1, 2])
    draws = {
      tuple(draw(self.Y, counts, seed)[0].tolist()) for seed in range(10)
    }
    assert len(draws) > 5
    for seed in range(10):
      assert tuple(draw(self.Y, counts, seed)[0].tolist()) in draws

  def test_every_row_is_as_likely(self):
    drawn = np.zeros(10)
    for seed in range(1000):
      drawn[draw(self.Y, np.array([1, 1, 1]), seed)[0]] += 1
    expected = 1000 / np.bincount(self.Y)[self.Y]
    np.testing.assert_allclose(drawn, expected, rtol=0.2)
