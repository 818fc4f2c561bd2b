"""The evaluators of a run, on features that nobody had to learn."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from d2v_jax.data.layout import TokenInputs
from d2v_jax.evaluators import Evaluator, evaluate
from d2v_jax.evaluators.class_accuracies import class_accuracies, unequal
from d2v_jax.evaluators.feature_extractor import FeatureExtractor
from d2v_jax.evaluators.features import (
  CLS,
  Features,
  Predictions,
  labelled,
)
from d2v_jax.evaluators.knn import Knn
from d2v_jax.evaluators.linear_probe import LinearProbe
from d2v_jax.evaluators.references import tf_idf
from d2v_jax.evaluators.references.simple_features import (
  SimpleFeatures,
  simple_features,
)
from d2v_jax.models.encoder import Encoder

Metrics = dict[str, float]
# Name of an evaluator -> name of a reference -> its metrics.
References = dict[str, dict[str, Metrics]]
Compared = Mapping[str, LinearProbe | Knn]

UNTRAINED = "untrained"


def compared(evaluators: Mapping[str, Evaluator]) -> Compared:
  """The evaluators, by name, whose accuracy is compared with references."""
  return {
    name: evaluator
    for name, evaluator in evaluators.items()
    if isinstance(evaluator, LinearProbe | Knn)
  }


def of_labels(y: np.ndarray, test_y: np.ndarray) -> Metrics:
  """What can be had without looking at examples.

  Args:
    y: [n] class numbers of the training split.
    test_y: [m] of the test split.

  Returns:
    `classes`, that the training split has, and `train` and `test`, examples of
    each; `majority`, the accuracy of always saying the most frequent class of
    the training split, and `chance`, that of saying any of them; `unequal`, 1
    where balanced accuracies count.
  """
  classes, counts = np.unique(y, return_counts=True)
  most = classes[np.argmax(counts)]
  return {
    "classes": float(len(classes)),
    "train": float(len(y)),
    "test": float(len(test_y)),
    "majority": float(np.mean(test_y == most)),
    "chance": 1 / len(classes),
    "unequal": float(unequal(test_y)),
  }


def untrained(
  evaluators: Compared,
  extract: FeatureExtractor,
  encoder: Encoder,
  mesh: Mesh,
  seed: int,
) -> dict[str, Metrics]:
  """Measures a network as it is before anything is learned.

  Args:
    evaluators: by name.
    extract: of this network's features.
    encoder: the network.
    mesh: of its devices.
    seed: of its weights.

  Returns:
    Name of the evaluator -> its metrics.
  """
  host_batch = next(iter(extract.batches("test")))
  batch = {k: np.zeros_like(x) for k, x in host_batch.items()}
  everywhere = NamedSharding(mesh, P())
  with jax.transfer_guard("allow"):
    params = jax.jit(encoder.init, out_shardings=everywhere)(
      jax.random.key(seed), batch
    )
  results = evaluate(
    _cheaper(evaluators), functools.partial(extract, params, {})
  )
  return by_evaluator(evaluators, results)


def simple(
  evaluators: Compared, extract: FeatureExtractor, encoder: Encoder
) -> References:
  """Measures the simple features of what a network takes.

  Each evaluator is used as it is, with one seed, but for the choice of
  features: those that are pooled as the network's are have no layers, and no
  CLS token, in whose place is their mean.

  Args:
    evaluators: by name.
    extract: of the network's features; those of others are extracted alike.
    encoder: the network.
  """
  if isinstance(encoder.inputs, TokenInputs):
    return _words(evaluators, extract)
  found: References = {name: {} for name in evaluators}
  for kind in simple_features(encoder):
    asked = {
      name: dataclasses.replace(evaluator, features=_read(kind, evaluator))
      for name, evaluator in _cheaper(evaluators).items()
    }
    features = extract.like(kind.encode, kind.grid)
    results = evaluate(asked, functools.partial(features, {}, {}))
    for name, metrics in by_evaluator(evaluators, results).items():
      found[name][kind.name] = metrics
  return found


def by_evaluator(
  evaluators: Compared, results: Mapping[str, float]
) -> dict[str, Metrics]:
  """Takes apart what `evaluate` returned.

  Args:
    evaluators: those of interest.
    results: `'<evaluator>/<metric>'` -> value.

  Returns:
    Name of the evaluator -> its metrics.
  """
  found: dict[str, Metrics] = {name: {} for name in evaluators}
  for key, value in results.items():
    name, _, metric = key.partition("/")
    if name in found:
      found[name][metric] = value
  return found


def _cheaper(evaluators: Compared) -> Compared:
  """The same with one seed: chance in fitting says nothing of a reference."""
  return {
    name: dataclasses.replace(evaluator, seeds=1)
    if isinstance(evaluator, LinearProbe)
    else evaluator
    for name, evaluator in evaluators.items()
  }


def _read(kind: SimpleFeatures, evaluator: LinearProbe | Knn) -> Features:
  pools = kind.pools
  if pools is None:
    asked = ("mean" if p == CLS else p for p in evaluator.features.pools)
    pools = tuple(dict.fromkeys(asked))
  # There is one network, and no teacher.
  return Features("student", pool=pools[0] if len(pools) == 1 else pools)


def _words(evaluators: Compared, extract: FeatureExtractor) -> References:
  ids = extract.like(predict=lambda params, batch: batch["inputs"])
  splits: dict[str, Any] = {}
  with jax.transfer_guard("allow"):
    for name in ("train", "test"):
      splits |= ids({}, {}, Predictions(name))
  (train, y), (test, test_y) = (labelled(splits, k) for k in ("train", "test"))
  x, test_x = tf_idf.tf_idf(train, test)
  found: References = {}
  for name, evaluator in evaluators.items():
    if isinstance(evaluator, Knn):
      predictions = tf_idf.neighbours(
        x, y, test_x, evaluator.k, evaluator.temperature
      )
    else:
      predictions = tf_idf.logistic_regression(x, y, test_x, evaluator.holdout)
    found[name] = {"tf_idf": class_accuracies(predictions, test_y, y)}
  return found
