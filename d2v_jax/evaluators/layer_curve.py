"""Which layer to use: accuracy of a classifier on each layer's features."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import numpy as np
from jax.sharding import Mesh

from d2v_jax.config import Choices, FromRun
from d2v_jax.evaluators.features import (
  ALL,
  Features,
  SplitFeatures,
  check_one_pool,
  labelled,
)
from d2v_jax.evaluators.interval import summary
from d2v_jax.evaluators.knn import Knn
from d2v_jax.evaluators.linear_probe import LinearProbe

_CLASSIFIERS = Choices(
  {"linear_probe": LinearProbe, "knn": Knn}, usual="linear_probe"
)
# Test accuracies by seed, and held-out accuracy and cross entropy.
Measured = tuple[list[float], float, float]


@dataclasses.dataclass(frozen=True)
class LayerCurve:
  """Fits a classifier to every block's output, and to the final output.

  All layers' features come from one pass over the data. The best layer is
  chosen on held-out training examples, the same ones for each layer: those a
  linear probe chooses its hyperparameters on, or those that nearest neighbours
  hold out. The test split tells only how good each layer is, so
  the best layer's accuracy is not flattered by having been chosen.

  Args:
    probe: What is fitted, a `LinearProbe` or a `Knn`; `seeds` gives intervals.
    features: Which features. Their layers are `'all'`, also where that is not
      said.
    mesh: Devices that share the work; None: one.
  """

  probe: Annotated[LinearProbe | Knn, _CLASSIFIERS] = dataclasses.field(
    default_factory=LinearProbe
  )
  features: Features = dataclasses.field(
    default_factory=lambda: Features(layers=ALL)
  )
  mesh: FromRun[Mesh | None] = None

  def __post_init__(self):
    if self.features.layers is None:
      features = dataclasses.replace(self.features, layers=ALL)
      object.__setattr__(self, "features", features)
    if self.features.layers != ALL:
      raise ValueError(
        f"LayerCurve: features.layers is {self.features.layers}, and this "
        "evaluator measures every layer; leave it out"
      )
    check_one_pool(self.features, "LayerCurve")
    if self.probe.features != Features():
      raise ValueError(
        f"LayerCurve: probe.features is {self.probe.features}, and features "
        "are chosen once, for all layers; set LayerCurve's own"
      )

  def __call__(self, features: SplitFeatures) -> dict[str, float]:
    """Measures each layer and chooses one.

    Args:
      features: Splits `train` and `test`, features [n, L + 1, D], with labels.

    Returns:
      Test accuracies `layer_00`, `layer_01`, ... of the L blocks and `final`;
      `best_layer`, chosen on held-out training examples (L is the final
      output; of equal layers the one with the lower cross entropy, then the
      lowest), its `best_validation_accuracy` there and its test accuracy
      `best_accuracy`. With several seeds accuracies are means, and each test
      accuracy has a 95 % interval, `layer_00_low`, `layer_00_high`, ...

    Raises:
      ValueError: If a split has no labels, features are not those of all
        layers, or the training split is too small to hold out a part of it.
    """
    x, y = labelled(features, "train")
    test_x, test_y = labelled(features, "test")
    if x.ndim != 3:
      raise ValueError(
        f"LayerCurve: features have the shape {x.shape}; [n, L + 1, D] is "
        "needed, which Features(layers='all') gives"
      )
    layers = range(x.shape[1])
    accuracies, validation, loss = zip(
      *(self._measure(x[:, i], y, test_x[:, i], test_y) for i in layers),
      strict=True,
    )
    best = int(np.lexsort((layers, loss, -np.array(validation)))[0])
    names = [f"layer_{i:02}" for i in layers[:-1]] + ["final"]
    results: dict[str, float] = {}
    for name, values in zip(names, accuracies, strict=True):
      results |= summary(name, values)
    return results | {
      "best_layer": float(best),
      "best_validation_accuracy": float(validation[best]),
      **summary("best_accuracy", accuracies[best]),
    }

  def _measure(
    self,
    x: np.ndarray,
    y: np.ndarray,
    test_x: np.ndarray,
    test_y: np.ndarray,
  ) -> Measured:
    probe = dataclasses.replace(self.probe, mesh=self.mesh)
    if isinstance(probe, Knn):
      return _knn(probe, x, y, test_x, test_y)
    return _linear_probe(probe, x, y, test_x, test_y)


def _linear_probe(
  probe: LinearProbe,
  x: np.ndarray,
  y: np.ndarray,
  test_x: np.ndarray,
  test_y: np.ndarray,
) -> Measured:
  """Test accuracies by seed; mean held-out accuracy and cross entropy."""
  fits = probe.fits(x, y)
  accuracies = [probe.accuracy(fitted, test_x, test_y) for fitted, _ in fits]
  selections = [selection for _, selection in fits]
  return (
    accuracies,
    float(np.mean([s.validation_accuracy for s in selections])),
    float(np.mean([s.validation_loss for s in selections])),
  )


def _knn(
  knn: Knn,
  x: np.ndarray,
  y: np.ndarray,
  test_x: np.ndarray,
  test_y: np.ndarray,
) -> Measured:
  """The same; votes have no cross entropy."""
  accuracy = float(np.mean(knn.predict(x, y, test_x) == test_y))
  return [accuracy], knn.validation_accuracy(x, y), 0.0
