"""Accuracy of a linear classifier on frozen features."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jax.sharding import Mesh

from d2v_jax.config import FromRun
from d2v_jax.data.ranges import check_range
from d2v_jax.evaluators.class_accuracies import class_accuracies
from d2v_jax.evaluators.features import (
  Features,
  SplitFeatures,
  labelled,
)
from d2v_jax.evaluators.interval import summary
from d2v_jax.evaluators.linear_classifiers import (
  LinearClassifiers,
  moments,
  predict,
  score,
  train,
)
from d2v_jax.evaluators.readings import Reading, readings, told


class Selection(NamedTuple):
  """The hyperparameters chosen on held-out training examples."""

  learning_rate: float
  weight_decay: float
  validation_accuracy: float
  validation_loss: float


@dataclasses.dataclass(frozen=True)
class LinearProbe:
  """Multinomial logistic regression, tuned on the training split alone.

  All pairs of learning rate and weight decay are trained at once on a part of
  the training split and compared on the rest; the best one is then trained on
  the whole training split. The test split has one use: the final accuracy.

  Layer and pooling are chosen with them, on the same held-out examples, where
  `features` has layers 'all', several poolings, or both: each layer is tried
  with each pooling, which takes as many times as long.

  Args:
    learning_rates: Tried peak learning rates of SGD with Nesterov momentum.
    weight_decays: Tried weights of half the squared norm of the weights.
    steps: Length of one training, with a cosine schedule.
    batch_size: Examples per step; at most the whole split.
    holdout: Share of the training split held out to choose.
    seed: Of the held-out rows and of the order of batches.
    seeds: How often all of it is repeated, with seeds counted from `seed`.
    features: Which features, or which to choose from.
    mesh: Devices that share the work; None: one.
  """

  learning_rates: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
  weight_decays: tuple[float, ...] = (0.0, 1e-4, 1e-3, 1e-2)
  steps: int = 2000
  batch_size: int = 512
  holdout: float = 0.1
  seed: int = 0
  seeds: int = 1
  features: Features = dataclasses.field(default_factory=Features)
  mesh: FromRun[Mesh | None] = None

  def __post_init__(self) -> None:
    check_range("LinearProbe", "seed", self.seed, 0, 2**32 - 1)
    if not len(self.learning_rates) or not len(self.weight_decays):
      raise ValueError(
        f"LinearProbe: learning_rates is {self.learning_rates} and "
        f"weight_decays {self.weight_decays}; give at least one of each"
      )
    if self.steps < 1 or self.batch_size < 1 or self.seeds < 1:
      raise ValueError(
        f"LinearProbe: steps is {self.steps}, batch_size {self.batch_size} "
        f"and seeds {self.seeds}; each must be at least 1"
      )
    if not 0 < self.holdout < 1:
      raise ValueError(
        f"LinearProbe: holdout is {self.holdout}; choose a share of the "
        "training split between 0 and 1, such as 0.1"
      )

  def __call__(self, features: SplitFeatures) -> dict[str, float]:
    """Trains on `train` and returns the accuracy on `test`.

    Args:
      features: Splits `train` and `test`, both with labels.

    Returns:
      `accuracy` on the test split, with what `class_accuracies` adds where its
      classes are unequal; `train_accuracy`, which is far above it
      when the splits' features differ in kind; and what was chosen:
      `learning_rate`, `weight_decay` and their `validation_accuracy`. Where
      there was more to choose, also `best_layer` (from 0; the depth L is the
      final output), and `best_pool`, its number in `features.pool` from 0, with
      the held-out accuracy of each pooling in its best layer,
      `validation_accuracy_cells:2` and so on. With several seeds `accuracy`
      is the mean, and there are `accuracy_std`, `accuracy_low` and
      `accuracy_high`: its standard deviation over seeds and the 95 % interval
      of the mean, which tell how much chance in fitting matters, not the
      choice of examples; the rest is that of the first seed.

    Raises:
      ValueError: If a split has no labels, or the training split is too small
        to hold out a part of it.
    """
    tried = readings(features, self.features)
    for splits in tried.values():
      labelled(splits, "test")  # raises before anything is trained
    runs = [probe._measure(tried) for probe in self._by_seed()]
    results: dict[str, float] = {}
    for name in ("accuracy", "balanced_accuracy"):
      if name in runs[0]:
        accuracies = [run.pop(name) for run in runs]
        results |= summary(name, accuracies)
        if self.seeds > 1:
          results[f"{name}_std"] = float(np.std(accuracies, ddof=1))
    return results | runs[0]

  def _measure(
    self, tried: Mapping[Reading, SplitFeatures]
  ) -> dict[str, float]:
    """Chooses, trains and tests with one seed."""
    best = next(iter(tried))
    found: dict[str, float] = {}
    if len(tried) > 1:
      best, found = self._choose_reading(tried)
    x, y = labelled(tried[best], "train")
    test_x, test_y = labelled(tried[best], "test")
    fitted, chosen = self.fit(x, y)
    return {
      **class_accuracies(predict(fitted, test_x, self.mesh), test_y, y),
      "train_accuracy": self.accuracy(fitted, x, y),
      "learning_rate": chosen.learning_rate,
      "weight_decay": chosen.weight_decay,
      "validation_accuracy": chosen.validation_accuracy,
      **found,
    }

  def _choose_reading(
    self, tried: Mapping[Reading, SplitFeatures]
  ) -> tuple[Reading, dict[str, float]]:
    """The best of several, and what is told of the choice."""
    chosen = {
      reading: self.choose(*labelled(splits, "train"))
      for reading, splits in tried.items()
    }

    def rank(reading: Reading) -> tuple[float, float]:
      selection = chosen[reading]
      return -selection.validation_accuracy, selection.validation_loss

    best = min(chosen, key=rank)  # of equal ones the first
    accuracies = {k: v.validation_accuracy for k, v in chosen.items()}
    return best, told(best, accuracies, self.features)

  def fits(
    self, x: np.ndarray, y: np.ndarray
  ) -> list[tuple[LinearClassifiers, Selection]]:
    """Does what `fit` does, once for each seed."""
    return [probe.fit(x, y) for probe in self._by_seed()]

  def _by_seed(self) -> list[LinearProbe]:
    seeds = range(self.seed, self.seed + self.seeds)
    return [dataclasses.replace(self, seed=seed, seeds=1) for seed in seeds]

  def fit(
    self, x: np.ndarray, y: np.ndarray
  ) -> tuple[LinearClassifiers, Selection]:
    """Chooses the hyperparameters and trains with them.

    Args:
      x: [n, D] float32.
      y: [n] int32, class numbers from 0.

    Returns:
      One classifier (G = 1), and what was chosen for it.

    Raises:
      ValueError: If there are too few rows to hold out a part of them.
    """
    chosen = self.choose(x, y)
    pair = chosen.learning_rate, chosen.weight_decay
    return self._train(x, y, np.arange(len(x)), [pair]), chosen

  def choose(self, x: np.ndarray, y: np.ndarray) -> Selection:
    """Chooses the hyperparameters: the first half of `fit`.

    Args:
      x: [n, D] float32.
      y: [n] int32, class numbers from 0.

    Raises:
      ValueError: If there are too few rows to hold out a part of them.
    """
    held_out = round(self.holdout * len(x))
    if not 0 < held_out < len(x):
      raise ValueError(
        f"LinearProbe: holdout {self.holdout} of {len(x)} training examples "
        f"leaves {held_out} to choose on and {len(x) - held_out} to train on; "
        "both must be at least 1"
      )
    grid = list(itertools.product(self.learning_rates, self.weight_decays))
    rows = np.random.default_rng(self.seed).permutation(len(x))
    chosen_on, trained_on = rows[:held_out], rows[held_out:]
    candidates = self._train(x, y, trained_on, grid)
    accuracy, loss = score(candidates, x, y, chosen_on, self.mesh)  # [G]
    # Few held-out examples often tie in accuracy; the loss then decides.
    best = np.lexsort((loss, -accuracy))[0]
    chosen = (*grid[best], accuracy[best], loss[best])
    return Selection(*map(float, chosen))

  def accuracy(
    self, fitted: LinearClassifiers, x: np.ndarray, y: np.ndarray
  ) -> float:
    """Share of examples that the one classifier is right about."""
    return float(score(fitted, x, y, mesh=self.mesh)[0][0])

  def _train(
    self,
    x: np.ndarray,
    y: np.ndarray,
    rows: np.ndarray,
    grid: list[tuple[float, float]],
  ) -> LinearClassifiers:
    batch_size = min(self.batch_size, len(rows))
    rng = np.random.default_rng(self.seed)
    epochs = -(-self.steps * batch_size // len(rows))
    order = np.concatenate([rng.permutation(len(rows)) for _ in range(epochs)])
    order = order[: self.steps * batch_size].reshape(self.steps, batch_size)
    rates, decays = np.asarray(grid, np.float32).T
    return train(
      x,
      y,
      rows[order],  # [steps, batch_size]
      moments(x, rows),
      rates,
      decays,
      classes=int(y.max()) + 1,
      mesh=self.mesh,
    )
