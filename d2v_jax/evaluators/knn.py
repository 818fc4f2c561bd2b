"""Weighted k-nearest-neighbour accuracy of frozen features."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from d2v_jax.evaluators.features import (
  Features,
  SplitFeatures,
  check_one_vector,
  labelled,
)

# Test rows compared with the bank at a time; bounds memory, not the result.
_CHUNK = 256


@dataclasses.dataclass(frozen=True)
class Knn:
  """Classifies test examples by their most similar training examples.

  Args:
    k: How many neighbours vote.
    temperature: A neighbour's vote weighs `exp(cosine / temperature)`.
    features: Which features.

  Source: Wu et al., arXiv:1805.01978, section 3.4; k and temperature of DINO,
  arXiv:2104.14294 (k = 20) and its code (0.07).
  """

  k: int = 20
  temperature: float = 0.07
  features: Features = dataclasses.field(default_factory=Features)

  def __post_init__(self) -> None:
    check_one_vector(self.features, "Knn")
    if self.k < 1 or self.temperature <= 0:
      raise ValueError(
        f"Knn: k is {self.k} and temperature {self.temperature}; k must be "
        "at least 1 and the temperature positive"
      )

  def __call__(self, features: SplitFeatures) -> dict[str, float]:
    """Returns `accuracy`, the share of the test split classified rightly.

    Args:
      features: Splits `train` (the bank) and `test`, both with labels.

    Raises:
      ValueError: If a split has no labels, or the bank fewer than k rows.
    """
    bank, bank_labels = labelled(features, "train")
    x, y = labelled(features, "test")
    predictions = knn_predict(bank, bank_labels, x, self.k, self.temperature)
    return {"accuracy": float(np.mean(predictions == y))}


def knn_predict(
  bank: np.ndarray,
  bank_labels: np.ndarray,
  x: np.ndarray,
  k: int,
  temperature: float,
) -> np.ndarray:
  """Predicts classes by a weighted vote of the k most similar bank rows.

  Args:
    bank: [n, D] float32.
    bank_labels: [n] int32, class numbers from 0.
    x: [m, D] float32.
    k: How many neighbours vote.
    temperature: Of the votes' weights.

  Returns:
    [m] int32. Equal votes go to the smaller class number.

  Raises:
    ValueError: If the bank has fewer than k rows.
  """
  if k > len(bank):
    raise ValueError(
      f"Knn: k is {k} but the training split has {len(bank)} examples; "
      f"choose k <= {len(bank)}"
    )
  # Whole chunks, so that every shape is static; the added rows are cut off.
  rows = -(-len(x) // _CHUNK) * _CHUNK
  chunks = np.zeros((rows, x.shape[1]), np.float32)
  chunks[: len(x)] = x
  predictions = _predict(
    bank,
    bank_labels,
    chunks.reshape(-1, _CHUNK, x.shape[1]),
    temperature,
    k=k,
    num_classes=int(bank_labels.max()) + 1,
  )
  return np.asarray(predictions).reshape(-1)[: len(x)]


@functools.partial(jax.jit, static_argnames=("k", "num_classes"))
def _predict(
  bank: jax.Array,
  labels: jax.Array,
  chunks: jax.Array,
  temperature: jax.Array,
  *,
  k: int,
  num_classes: int,
) -> jax.Array:
  bank = _normalise(bank)

  def predict_chunk(x: jax.Array) -> jax.Array:
    # Rounded similarities would be magnified by 1 / temperature.
    cosine = jnp.matmul(_normalise(x), bank.T, precision="highest")  # [m, n]
    cosine, neighbours = jax.lax.top_k(cosine, k)  # [m, k]
    weights = jnp.exp(cosine / temperature)
    votes = jax.nn.one_hot(labels[neighbours], num_classes)  # [m, k, C]
    return (weights[..., None] * votes).sum(1).argmax(-1).astype(jnp.int32)

  return jax.lax.map(predict_chunk, chunks)


def _normalise(x: jax.Array) -> jax.Array:
  norm = jnp.linalg.norm(x, axis=-1, keepdims=True)
  return x / jnp.maximum(norm, 1e-12)
