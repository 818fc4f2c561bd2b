"""Words, counted: what learned features of text are compared with."""

from __future__ import annotations

import warnings

import numpy as np
from scipy import sparse

from d2v_jax.data.layout import UNK

# Strengths of the penalty that are tried; rows have length 1.
_CS = (1.0, 10.0, 100.0)


def tf_idf(
  train: np.ndarray, test: np.ndarray
) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
  """Counts tokens, weighs them by how rare they are, and normalises rows.

  Args:
    train: [n, N] int, token ids; special tokens and padding do not count.
    test: [m, M] int.

  Returns:
    [n, V] and [m, V] with rows of length 1, or of 0 where no token is known.
    Weights are those of `train`.
  """
  from sklearn.feature_extraction.text import TfidfTransformer  # slow to import

  width = 1 + max(int(train.max()), int(test.max()))
  transformer = TfidfTransformer(sublinear_tf=True).fit(_counts(train, width))
  return tuple(transformer.transform(_counts(x, width)) for x in (train, test))


def _counts(ids: np.ndarray, width: int) -> sparse.csr_matrix:
  rows, columns = np.nonzero(ids > UNK)
  values = np.ones(len(rows))
  shape = len(ids), width
  return sparse.csr_matrix((values, (rows, ids[rows, columns])), shape)


def logistic_regression(
  x: sparse.csr_matrix,
  y: np.ndarray,
  test_x: sparse.csr_matrix,
  holdout: float,
) -> np.ndarray:
  """Predicts classes; the penalty is chosen on held-out training rows.

  Args:
    x: [n, V].
    y: [n] int.
    test_x: [m, V].
    holdout: share of the rows held out to choose.

  Returns:
    [m] int.
  """
  rows = np.random.default_rng(0).permutation(len(y))
  held_out, rest = np.split(rows, [max(1, round(holdout * len(y)))])
  right = [
    np.mean(_fitted(x[rest], y[rest], c).predict(x[held_out]) == y[held_out])
    for c in _CS
  ]
  best = _CS[int(np.argmax(right))]  # of equal ones the strongest penalty
  return np.asarray(_fitted(x, y, best).predict(test_x))


def _fitted(x, y, c):
  from sklearn.dummy import DummyClassifier
  from sklearn.exceptions import ConvergenceWarning
  from sklearn.linear_model import LogisticRegression

  if len(np.unique(y)) < 2:
    return DummyClassifier().fit(x, y)
  with warnings.catch_warnings():
    # A reference need not be exact to the last digit.
    warnings.simplefilter("ignore", ConvergenceWarning)
    return LogisticRegression(C=c, max_iter=200).fit(x, y)


def neighbours(
  x: sparse.csr_matrix,
  y: np.ndarray,
  test_x: sparse.csr_matrix,
  k: int,
  temperature: float,
) -> np.ndarray:
  """Predicts classes by the votes that `Knn` has, of cosines.

  Args:
    x: [n, V].
    y: [n] int.
    test_x: [m, V].
    k: how many neighbours vote.
    temperature: of the votes' weights.

  Returns:
    [m] int.
  """
  from sklearn.neighbors import KNeighborsClassifier

  classifier = KNeighborsClassifier(
    k,
    metric="cosine",
    algorithm="brute",
    weights=lambda distances: np.exp((1 - distances) / temperature),
  )
  return np.asarray(classifier.fit(x, y).predict(test_x))
