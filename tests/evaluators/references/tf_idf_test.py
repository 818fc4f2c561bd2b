import numpy as np
import pytest

from d2v_jax.evaluators.knn import knn_predict
from d2v_jax.evaluators.references import tf_idf

# <s> 0, <pad> 1, </s> 2, <unk> 3, words from 4 on.
TRAIN = np.array([[0, 4, 5, 4, 2, 1], [0, 5, 2, 1, 1, 1], [0, 3, 6, 4, 5, 2]])
TEST = np.array([[0, 4, 6, 6, 2], [0, 9, 2, 1, 1], [0, 2, 1, 1, 1]])


def test_by_hand():
  x, test_x = (m.toarray() for m in tf_idf.tf_idf(TRAIN, TEST))
  # In 2, 3 and 1 of three texts.
  idf = {w: np.log(4 / (1 + n)) + 1 for w, n in {4: 2, 5: 3, 6: 1}.items()}
  first = np.zeros(10)
  first[4], first[5] = (1 + np.log(2)) * idf[4], idf[5]
  np.testing.assert_allclose(x[0], first / np.linalg.norm(first), atol=1e-12)
  last = np.zeros(10)
  last[4], last[6] = idf[4], (1 + np.log(2)) * idf[6]
  np.testing.assert_allclose(test_x[0], last / np.linalg.norm(last), atol=1e-12)
  # Special tokens are no words.
  assert not test_x[2].any() and not x[:, :4].any()


def texts(n, seed):
  """Two classes, each with words that it likes."""
  rng = np.random.default_rng(seed)
  y = rng.integers(0, 2, n).astype(np.int32)
  likes = np.ones((2, 12)) + 4 * (np.arange(12) // 6 == np.arange(2)[:, None])
  words = [rng.choice(12, 10, p=likes[c] / likes[c].sum()) for c in y]
  return np.stack(words) + 4, y


@pytest.fixture(scope="module")
def splits():
  (train, y), (test, test_y) = texts(300, 0), texts(100, 1)
  return *tf_idf.tf_idf(train, test), y, test_y


def test_logistic_regression(splits):
  x, test_x, y, test_y = splits
  predictions = tf_idf.logistic_regression(x, y, test_x, 0.1)
  assert np.mean(predictions == test_y) > 0.85


def test_one_class(splits):
  x, test_x, y, _ = splits
  assert not tf_idf.logistic_regression(x, 0 * y, test_x, 0.1).any()


def test_neighbours_vote_as_those_of_features_do(splits):
  x, test_x, y, _ = splits
  dense, test_dense = (m.toarray().astype(np.float32) for m in (x, test_x))
  np.testing.assert_array_equal(
    tf_idf.neighbours(x, y, test_x, 20, 0.07),
    knn_predict(dense, y, test_dense, 20, 0.07),
  )
