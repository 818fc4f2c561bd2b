import numpy as np
import pytest

from d2v_jax import config as config_lib
from d2v_jax.evaluators import EVALUATORS, evaluate
from d2v_jax.evaluators.features import Features
from d2v_jax.evaluators.knn import Knn
from d2v_jax.evaluators.layer_curve import LayerCurve
from d2v_jax.evaluators.linear_probe import LinearProbe

PROBE = LinearProbe((0.1,), (1e-3,), steps=60, batch_size=64)


def make_split(seed, noise, n=400, classes=4, dim=8):
  """Layers whose classes overlap by a noise of their own: [n, L + 1, D]."""
  rng = np.random.default_rng(seed)
  centres = np.random.default_rng(100).normal(size=(classes, dim))
  y = rng.integers(0, classes, n).astype(np.int32)
  layers = [centres[y] + s * rng.normal(size=(n, dim)) for s in noise]
  return np.stack(layers, axis=1).astype(np.float32), y


@pytest.fixture(scope="module")
def splits():
  noise = (3.0, 1.0, 2.0)
  return {"train": make_split(0, noise), "test": make_split(1, noise)}


def layer(splits, i):
  return {name: (x[:, i], y) for name, (x, y) in splits.items()}


def permute_test_labels(splits):
  x, y = splits["test"]
  return {**splits, "test": (x, np.random.default_rng(0).permutation(y))}


class TestLayerCurve:
  def test_equals_a_linear_probe_on_each_layer(self, splits):
    results = LayerCurve(PROBE)(splits)
    each = [PROBE(layer(splits, i)) for i in range(3)]
    validation = [r["validation_accuracy"] for r in each]
    assert np.argmax(validation) == 1
    assert results == {
      "layer_00": each[0]["accuracy"],
      "layer_01": each[1]["accuracy"],
      "final": each[2]["accuracy"],
      "best_layer": 1.0,
      "best_validation_accuracy": validation[1],
      "best_accuracy": each[1]["accuracy"],
    }

  def test_equals_nearest_neighbours_on_each_layer(self, splits):
    results = LayerCurve(Knn(k=5))(splits)
    for i, name in enumerate(("layer_00", "layer_01", "final")):
      assert results[name] == Knn(k=5)(layer(splits, i))["accuracy"]
    assert results["best_layer"] == 1
    assert results["best_accuracy"] == results["layer_01"]
    assert results["best_validation_accuracy"] == pytest.approx(
      results["best_accuracy"], abs=0.15
    )

  @pytest.mark.parametrize("probe", [PROBE, Knn(k=5)])
  def test_test_labels_do_not_change_the_choice(self, splits, probe):
    honest = LayerCurve(probe)(splits)
    shuffled = LayerCurve(probe)(permute_test_labels(splits))
    for metric in ("best_layer", "best_validation_accuracy"):
      assert honest[metric] == shuffled[metric]
    assert honest["best_accuracy"] > 0.6
    assert shuffled["best_accuracy"] < 0.4

  @pytest.mark.parametrize("probe", [PROBE, Knn(k=5)])
  def test_a_layer_that_is_best_on_the_test_split_only(self, probe):
    splits = {
      "train": make_split(0, (0.5, 2.0)),
      "test": make_split(1, (9.0, 0.5)),
    }
    results = LayerCurve(probe)(splits)
    assert results["best_layer"] == 0
    assert results["best_accuracy"] == results["layer_00"]
    assert results["layer_00"] < results["final"] - 0.2

  def test_of_equal_layers_the_lowest(self, splits):
    same = {k: (x[:, [0, 1, 1]], y) for k, (x, y) in splits.items()}
    assert LayerCurve(PROBE)(same)["best_layer"] == 1
    assert LayerCurve(Knn(k=5))(same)["best_layer"] == 1

  def test_cross_entropy_decides_between_equal_accuracies(self):
    # All are right, and a wider gap between the classes makes them surer.
    splits = {k: make_split(s, (0.1, 0.01)) for s, k in enumerate(["a", "b"])}
    results = LayerCurve(PROBE)({"train": splits["a"], "test": splits["b"]})
    assert results["layer_00"] == results["final"] == 1
    assert results["best_layer"] == 1

  def test_several_seeds(self, splits):
    probe = {"learning_rates": (0.1,), "weight_decays": (1e-3,), "steps": 5}
    results = LayerCurve(LinearProbe(**probe, batch_size=8, seeds=3))(splits)
    expected = LinearProbe(**probe, batch_size=8, seeds=3)(layer(splits, 0))
    for end in ("", "_low", "_high"):
      assert results[f"layer_00{end}"] == expected[f"accuracy{end}"]
      best = int(results["best_layer"])
      name = ("layer_00", "layer_01", "final")[best]
      assert results[f"best_accuracy{end}"] == results[f"{name}{end}"]
    assert results["layer_00_low"] < results["layer_00_high"]

  def test_from_a_config(self, splits):
    spec = {
      "name": "layer_curve",
      "probe": {"learning_rates": (0.1,), "weight_decays": (1e-3,)},
      "features": {"model": "student"},
    }
    curve = config_lib.build(spec, EVALUATORS, "config.x")
    assert curve.features == Features("student", "all")
    assert curve.probe == LinearProbe((0.1,), (1e-3,))
    asked = []
    results = evaluate(
      {"layer_curve": curve}, lambda f: asked.append(f) or splits
    )
    assert asked == [Features("student", "all")]
    assert results["layer_curve/best_layer"] == 1

  @pytest.mark.parametrize(
    ("kwargs", "message"),
    [
      (
        {"features": {"layers": (0,)}},
        r"LayerCurve: features.layers is \(0,\), .* leave it out",
      ),
      (
        {"probe": {"features": {"model": "student"}}},
        "LayerCurve: probe.features is .* set LayerCurve's own",
      ),
      (
        {"features": {"pool": ("mean", "mean_std")}},
        r"LayerCurve: features.pool is \('mean', 'mean_std'\), .* LinearProbe",
      ),
      (
        {"probe": {"name": "nn"}},
        "LayerCurve.probe.name: unknown 'nn'.* choose one of: knn, linear_pro",
      ),
      (
        {"probe": {"step": 1}},
        r"LayerCurve.probe.step: unknown field \(did you mean 'steps'\?\)",
      ),
      ({"probe": {"steps": 0}}, "LayerCurve.probe: LinearProbe: steps is 0"),
      ({"probe": "knn"}, "LayerCurve.probe: got 'knn', but it must be a sect"),
    ],
  )
  def test_arguments(self, kwargs, message):
    with pytest.raises(ValueError, match=message):
      config_lib.call(LayerCurve, kwargs, "LayerCurve")

  def test_features_of_one_layer(self, splits):
    with pytest.raises(
      ValueError, match=r"features have the shape \(400, 8\); \[n, L \+ 1, D\]"
    ):
      LayerCurve(PROBE)(layer(splits, 0))

  def test_no_labels(self, splits):
    x, _ = splits["test"]
    with pytest.raises(ValueError, match="split 'test' has no labels"):
      LayerCurve(PROBE)({**splits, "test": (x, None)})

  def test_too_few_rows(self, splits):
    x, y = splits["train"]
    with pytest.raises(ValueError, match="leaves 0 to choose on"):
      LayerCurve(PROBE)({**splits, "train": (x[:3], y[:3])})
    with pytest.raises(ValueError, match="the training split has 3 examples"):
      LayerCurve(Knn(k=4))({**splits, "train": (x[:3], y[:3])})
