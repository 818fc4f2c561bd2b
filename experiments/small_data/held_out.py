"""How well a run's features do on training digits that are held out.

  python -m experiments.small_data.held_out RUN... > held_out.json
  python -m experiments.small_data.held_out --test RUN... > test.json

Every layer is read with every pooling, by 20 nearest neighbours and by a
linear classifier, of the teacher. The test digits are not opened but with
--test, and then each of the two is read once, as held-out digits choose.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

import d2v_jax
from d2v_jax.data.images.sources import Digits
from d2v_jax.evaluators.knn import Knn
from d2v_jax.evaluators.linear_probe import LinearProbe

POOLS = ("mean", "mean_std", "cells:2", "tokens")
FOLDS = 5
# Of the mean square of a direction among standardised features.
PENALTIES = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)

Record = dict[str, Any]


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the command line; returns the exit status."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("runs", nargs="+", help="workdirs of finished runs")
  parser.add_argument("--test", action="store_true", help="read test digits")
  args = parser.parse_args(argv)
  print(json.dumps({run: measure(run, args.test) for run in args.runs}))
  return 0


def measure(run: str, test: bool) -> Record:
  """Held-out accuracies of each reading of a run, and the test's if asked for.

  Args:
    run: workdir.
    test: whether the test digits are read, too.

  Returns:
    `held_out`: 'POOL/LAYER' -> `knn` and `linear`; of layers the last is the
    final output. With `test` also `test`: `knn` and `linear`, each with the
    `reading` that is best on held-out digits (of equal ones the first) and its
    `accuracy`.
  """
  model = d2v_jax.load(run)
  images, labels = digits("train")
  features = {
    f"{pool}/{layer}": x
    for pool in POOLS
    for layer, x in enumerate(_layers(model, images, pool))
  }
  held_out = {
    name: {"knn": neighbours(x, labels), "linear": least_squares(x, labels)}
    for name, x in features.items()
  }
  if not test:
    return {"held_out": held_out}
  test_images, test_labels = digits("test")
  read = {}
  for evaluator, judge in (("knn", Knn()), ("linear", LinearProbe())):
    best = max(held_out, key=lambda name: held_out[name][evaluator])
    pool, layer = best.split("/")
    x = _layers(model, test_images, pool)[int(layer)]
    splits = {"train": (features[best], labels), "test": (x, test_labels)}
    accuracy = judge(splits)["accuracy"]
    read[evaluator] = {"reading": best, "accuracy": accuracy}
  return {"held_out": held_out, "test": read}


def digits(split: str) -> tuple[np.ndarray, np.ndarray]:
  """Images uint8 [n, 8, 8, 1] and classes int32 [n] of a split."""
  source = Digits(split)
  images = np.stack([source[i]["image"] for i in range(len(source))])
  return images, source.labels.astype(np.int32)


def folds(rows: int) -> np.ndarray:
  """Which of FOLDS parts each of so many rows is in, the same each time."""
  return np.random.default_rng(0).permutation(rows) % FOLDS


def neighbours(x: np.ndarray, y: np.ndarray) -> float:
  """Accuracy of 20-NN: each part's neighbours are in the other parts.

  Args:
    x: [n, E] float32.
    y: [n] int32, class numbers from 0.
  """
  part, right = folds(len(x)), 0
  for i in range(FOLDS):
    predicted = Knn().predict(x[part != i], y[part != i], x[part == i])
    right += int(np.sum(predicted == y[part == i]))
  return right / len(x)


def least_squares(x: np.ndarray, y: np.ndarray) -> float:
  """Accuracy of ridge regression of the classes, fitted without each part.

  Much faster than logistic regression by steps. The penalty is the best of
  PENALTIES for all parts together, so that of two readings each has its best.

  Args:
    x: [n, E] float32; standardised by the rows that are fitted.
    y: [n] int32, class numbers from 0.
  """
  part, right = folds(len(x)), np.zeros(len(PENALTIES))
  classes = np.eye(y.max() + 1)[y]  # [n, C]
  for i in range(FOLDS):
    fitted, rest = part != i, part == i
    mean, std = x[fitted].mean(0), x[fitted].std(0) + 1e-6
    z = ((x - mean) / std).astype(np.float64)
    offset = classes[fitted].mean(0)
    # Of fewer features than rows their products, else those of the rows.
    basis = z if x.shape[1] < fitted.sum() else z @ z[fitted].T
    a = basis[fitted]
    square = a.T @ a if basis is z else a
    values, vectors = np.linalg.eigh(square / fitted.sum())
    sides = classes[fitted] - offset
    sides = (a.T @ sides if basis is z else sides) / fitted.sum()
    for j, penalty in enumerate(PENALTIES):
      inverse = (vectors / (values + penalty)) @ (vectors.T @ sides)
      scores = basis[rest] @ inverse + offset
      right[j] += np.sum(scores.argmax(-1) == y[rest])
  return float(right.max() / len(x))


def _layers(model, images, pool):
  """Features [L + 1, n, E] of each layer and the final output."""
  stacked = model.features(images, layers="all", pool=pool, batch_size=512)
  return stacked.swapaxes(0, 1)


if __name__ == "__main__":
  sys.exit(main())
