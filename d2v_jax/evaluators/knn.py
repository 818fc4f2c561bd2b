"""Weighted k-nearest-neighbour accuracy of frozen features."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from d2v_jax.config import FromRun
from d2v_jax.evaluators import placed
from d2v_jax.evaluators.class_accuracies import class_accuracies
from d2v_jax.evaluators.features import Features, SplitFeatures, labelled
from d2v_jax.evaluators.readings import readings, told
from d2v_jax.models.hardware import placement

# Test rows, and rows of the bank on one device, compared at a time; they bound
# memory, not the result.
_CHUNK = 256
_TILE = 2**14

_Neighbours = tuple[jax.Array, jax.Array]  # cosines and labels [m, k]


@dataclasses.dataclass(frozen=True)
class Knn:
  """Classifies test examples by their most similar training examples.

  Layer and pooling are chosen where `features` has layers 'all', several
  poolings, or both: by the accuracy on held-out training examples, whose
  neighbours are the other ones.

  Args:
    k: How many neighbours vote.
    temperature: A neighbour's vote weighs `exp(cosine / temperature)`.
    holdout: Share of the training split held out to choose, at least one
      example.
    features: Which features, or which to choose from.
    mesh: Devices that hold the training examples, each a part; None: one.

  Source: Wu et al., arXiv:1805.01978, section 3.4; k and temperature of DINO,
  arXiv:2104.14294 (k = 20) and its code (0.07).
  """

  k: int = 20
  temperature: float = 0.07
  holdout: float = 0.1
  features: Features = dataclasses.field(default_factory=Features)
  mesh: FromRun[Mesh | None] = None

  def __post_init__(self) -> None:
    if self.k < 1 or self.temperature <= 0:
      raise ValueError(
        f"Knn: k is {self.k} and temperature {self.temperature}; k must be "
        "at least 1 and the temperature positive"
      )
    if not 0 < self.holdout < 1:
      raise ValueError(
        f"Knn: holdout is {self.holdout}; choose a share of the training "
        "split between 0 and 1, such as 0.1"
      )

  def __call__(self, features: SplitFeatures) -> dict[str, float]:
    """Classifies the test split.

    Args:
      features: Splits `train` (the bank) and `test`, both with labels.

    Returns:
      `accuracy`, the share of the test split classified rightly, with what
      `class_accuracies` adds where its classes are unequal; and, where there
      was something to choose, `validation_accuracy` and what `readings.told`
      says: `best_layer`, `best_pool` and each pooling's accuracy.

    Raises:
      ValueError: If a split has no labels, or the bank fewer than k rows.
    """
    tried = readings(features, self.features)
    for splits in tried.values():
      labelled(splits, "test")  # raises before anything is compared
    best, found = next(iter(tried)), {}
    if len(tried) > 1:
      held_out = {
        reading: self.validation_accuracy(*labelled(splits, "train"))
        for reading, splits in tried.items()
      }
      best = max(held_out, key=held_out.__getitem__)  # of equal ones the first
      found = told(best, held_out, self.features)
      found["validation_accuracy"] = held_out[best]
    x, y = labelled(tried[best], "test")
    train_x, train_y = labelled(tried[best], "train")
    predictions = self.predict(train_x, train_y, x)
    return class_accuracies(predictions, y, train_y) | found

  def validation_accuracy(self, x: np.ndarray, y: np.ndarray) -> float:
    """Accuracy on held-out training examples, the same ones each time.

    Where fewer than k examples are left all of these vote.

    Args:
      x: [n, D] float32.
      y: [n] int32, class numbers from 0.

    Raises:
      ValueError: If none are left.
    """
    rows = np.random.default_rng(0).permutation(len(x))
    held_out, bank = np.split(rows, [max(1, round(self.holdout * len(x)))])
    fewer = dataclasses.replace(self, k=max(1, min(self.k, len(bank))))
    predictions = fewer.predict(x[bank], y[bank], x[held_out])
    return float(np.mean(predictions == y[held_out]))

  def predict(
    self, bank: np.ndarray, labels: np.ndarray, x: np.ndarray
  ) -> np.ndarray:
    """Classes [m] of x [m, D], by a bank [n, D] and its labels [n]."""
    return knn_predict(bank, labels, x, self.k, self.temperature, self.mesh)


def knn_predict(
  bank: np.ndarray,
  bank_labels: np.ndarray,
  x: np.ndarray,
  k: int,
  temperature: float,
  mesh: Mesh | None = None,
) -> np.ndarray:
  """Predicts classes by a weighted vote of the k most similar bank rows.

  The bank lies on the devices, each has a part. Beside it a device needs memory
  for some test rows, a tile of the bank and the similarities of the two.

  Args:
    bank: [n, D] float32.
    bank_labels: [n] int32, class numbers from 0.
    x: [m, D] float32.
    k: How many neighbours vote.
    temperature: Of the votes' weights.
    mesh: Of the devices; None: one device.

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
  mesh = mesh or placed.one_device()
  rows, tile = _tiling(len(bank), mesh.size)
  on_devices = [placed.split(a, mesh, rows) for a in (bank, bank_labels)]
  predictions = []
  for start in range(0, len(x), _CHUNK):
    # Whole chunks, so that every shape is static; the added rows are cut off.
    chunk = np.zeros((_CHUNK, x.shape[1]), np.float32)
    part = x[start : start + _CHUNK]
    chunk[: len(part)] = part
    voted = _predict(
      *on_devices,
      placed.everywhere(chunk, mesh),
      np.int32(len(bank)),
      np.float32(temperature),
      mesh=mesh,
      k=k,
      num_classes=int(bank_labels.max()) + 1,
      tile=tile,
    )
    predictions.append(np.asarray(voted)[: len(part)])
  return np.concatenate(predictions)


def _tiling(rows: int, devices: int) -> tuple[int, int]:
  """Rows in all, filled up so that each device has whole tiles; of a tile."""
  tiles = -(-rows // (devices * _TILE))
  tile = -(-rows // (devices * tiles))
  return devices * tiles * tile, tile


@functools.partial(
  jax.jit, static_argnames=("mesh", "k", "num_classes", "tile")
)
def _predict(
  bank: jax.Array,
  labels: jax.Array,
  x: jax.Array,
  size: jax.Array,
  temperature: jax.Array,
  *,
  mesh: Mesh,
  k: int,
  num_classes: int,
  tile: int,
) -> jax.Array:
  """Classes [m] of x [m, D]; of the bank's rows the first `size` are some."""
  nearest = jax.shard_map(
    functools.partial(_nearest, k=k, tile=tile),
    mesh=mesh,
    in_specs=(placement.EXAMPLES, placement.EXAMPLES, P(), P()),
    out_specs=P(None, *placement.EXAMPLES),
    check_vma=False,
  )
  # [m, devices * k]; earlier rows of the bank first
  found = jax.lax.with_sharding_constraint(
    nearest(bank, labels, x, size), NamedSharding(mesh, P())
  )
  cosine, labels = _best(found, k)  # [m, k]
  weights = jnp.exp(cosine / temperature)
  votes = jax.nn.one_hot(labels, num_classes)  # [m, k, C]
  return (weights[..., None] * votes).sum(1).argmax(-1).astype(jnp.int32)


def _nearest(
  bank: jax.Array,
  labels: jax.Array,
  x: jax.Array,
  size: jax.Array,
  *,
  k: int,
  tile: int,
) -> _Neighbours:
  """The nearest rows that a device has."""
  x = _normalise(x)
  first = jax.lax.axis_index(tuple(*placement.EXAMPLES)) * len(bank)

  def look(best: _Neighbours, start: jax.Array) -> tuple[_Neighbours, None]:
    rows = jax.lax.dynamic_slice_in_dim(bank, start, tile)
    # Rounded similarities would be magnified by 1 / temperature.
    cosine = jnp.matmul(x, _normalise(rows).T, precision="highest")
    real = first + start + jnp.arange(tile) < size
    cosine = jnp.where(real, cosine, -jnp.inf)  # [m, tile]
    cosine, at = jax.lax.top_k(cosine, min(k, tile))
    found = cosine, labels[start + at]
    both = jax.tree.map(lambda a, b: jnp.concatenate([a, b], 1), best, found)
    return _best(both, k), None

  shape = len(x), k
  nothing = jnp.full(shape, -jnp.inf), jnp.zeros(shape, labels.dtype)
  starts = jnp.arange(0, len(bank), tile)
  return jax.lax.scan(look, nothing, starts)[0]


def _best(found: _Neighbours, k: int) -> _Neighbours:
  """The k most similar of each row; of equal ones, those that come first."""
  cosine, at = jax.lax.top_k(found[0], k)
  return cosine, jnp.take_along_axis(found[1], at, 1)


def _normalise(x: jax.Array) -> jax.Array:
  norm = jnp.linalg.norm(x, axis=-1, keepdims=True)
  return x / jnp.maximum(norm, 1e-12)
