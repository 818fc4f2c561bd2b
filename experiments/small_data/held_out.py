"""How well a run's features do on training digits that are held out.

  python -m experiments.small_data.held_out RUN... > result.json
  python -m experiments.small_data.held_out --test RUN... > result.json

Every layer of the teacher is read with every pooling, by 20 nearest neighbours
and by a linear classifier, ridge regression of the classes. The test digits are
not opened but with --test; then each of the two is read once, as held-out
digits choose.
"""

import argparse
import json
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

import d2v_jax
from d2v_jax.data.images.sources import Digits
from d2v_jax.evaluators.knn import Knn

POOLS = ("mean", "mean_std", "cells:2", "tokens")
FOLDS = 5
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
  names = {pathlib.Path(run).name: run for run in args.runs}
  results = {name: measure(run, args.test) for name, run in names.items()}
  print(json.dumps(results, indent=1))
  return 0


def measure(run: str, test: bool) -> Record:
  """Held-out accuracies of each reading of a run, and the test's if asked for.

  Args:
    run: workdir.
    test: whether the test digits are read, too.

  Returns:
    `config`, `commit`, `python` and `versions` of the run; `held_out`:
    'POOL/LAYER' -> `knn` and `linear`; of layers the last is the final output.
    With `test` also `test`: `knn` and `linear`, each with the
    `reading` that is best on held-out digits (of equal ones the first) and its
    `accuracy`.
  """
  model = d2v_jax.load(run)
  start = json.loads((model.run / "run.json").read_text())["starts"][-1]
  facts = {key: start[key] for key in ("commit", "python", "versions")}
  facts["config"] = model.config
  images, labels = digits("train")
  features = {
    f"{pool}/{layer}": x
    for pool in POOLS
    for layer, x in enumerate(_layers(model, images, pool))
  }
  penalties, held_out = {}, {}
  for name, x in features.items():
    linear, penalties[name] = least_squares(x, labels)
    held_out[name] = {"knn": neighbours(x, labels), "linear": linear}
  if not test:
    return {**facts, "held_out": held_out}
  test_images, test_labels = digits("test")
  read = {}
  for kind in ("knn", "linear"):
    best = max(held_out, key=lambda name, kind=kind: held_out[name][kind])
    pool, layer = best.split("/")
    x, rest = features[best], _layers(model, test_images, pool)[int(layer)]
    if kind == "knn":
      predicted = Knn().predict(x, labels, rest)
    else:
      (predicted,) = ridge(x, labels, rest, [penalties[best]])
    accuracy = float(np.mean(predicted == test_labels))
    read[kind] = {"reading": best, "accuracy": accuracy}
  return {**facts, "held_out": held_out, "test": read}


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


def least_squares(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
  """Accuracy of ridge regression of the classes, fitted without each part.

  Much faster than logistic regression by steps.

  Args:
    x: [n, E] float32.
    y: [n] int32, class numbers from 0.

  Returns:
    The accuracy of the best of PENALTIES for all parts together, and that.
  """
  part, right = folds(len(x)), np.zeros(len(PENALTIES))
  for i in range(FOLDS):
    fitted, rest = part != i, part == i
    predicted = ridge(x[fitted], y[fitted], x[rest], PENALTIES)
    right += (predicted == y[rest]).sum(1)
  best = int(right.argmax())
  return float(right[best] / len(x)), PENALTIES[best]


def ridge(
  x: np.ndarray, y: np.ndarray, rest: np.ndarray, penalties: Sequence[float]
) -> np.ndarray:
  """Classes by ridge regression of one-hot vectors on standardised features.

  Args:
    x: [n, E] float32, of which mean and standard deviation are taken, too.
    y: [n] int32, class numbers from 0.
    rest: [m, E], what is to be classified.
    penalties: each is added to the mean square of every direction.

  Returns:
    [len(penalties), m] int.
  """
  mean, std = x.mean(0), x.std(0) + 1e-6
  z, rest = ((v - mean).astype(np.float64) / std for v in (x, rest))
  classes = np.eye(y.max() + 1)[y]  # [n, C]
  offset = classes.mean(0)
  sides = classes - offset
  if x.shape[1] < len(x):
    square, sides, basis = z.T @ z, z.T @ sides, rest
  else:  # the same by products of rows, of which there are fewer
    square, basis = z @ z.T, rest @ z.T
  values, vectors = np.linalg.eigh(square / len(x))
  sides, basis = vectors.T @ sides / len(x), basis @ vectors
  return np.stack(
    [
      (basis / (values + penalty) @ sides + offset).argmax(-1)
      for penalty in penalties
    ]
  )


def _layers(model, images, pool):
  """Features [L + 1, n, E] of each layer and the final output."""
  stacked = model.features(images, layers="all", pool=pool, batch_size=512)
  return stacked.swapaxes(0, 1)


if __name__ == "__main__":
  sys.exit(main())
