"""What an evaluator asks for: frozen features, or predictions."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from d2v_jax.evaluators import pooling

if TYPE_CHECKING:
  from d2v_jax.models.encoder import EncoderOutput

MODELS = ("teacher", "student")
ALL = "all"
CLS = "cls"

# Split name -> features [n, D] (all layers: [n, L + 1, D]) float32 and labels
# [n] (None: no labels). In place of features, predictions [n] or [n, N], or
# scores [n, C] or [n, N, V]; characters are labels [n, U]. Where several
# poolings are asked for, each has an entry: 'train/mean', 'train/cells:2'.
SplitFeatures = Mapping[str, tuple[np.ndarray, np.ndarray | None]]


@dataclasses.dataclass(frozen=True)
class Features:
  """Which features of a pretrained model are evaluated.

  Args:
    model: `'teacher'`, or `'student'`.
    layers: None for the final output (after the final norm, if there is one),
      or the layers whose block outputs are averaged, counted from 0; negative
      ones count from the last layer. `'all'` for every block's output and then
      the final one, side by side.
    pool: How the tokens become one vector, such as `'mean'` or `'mean_std'`;
      `pooling` has all names. Or several, of which an evaluator chooses one.

  Raises:
    ValueError: If `model` or `pool` is unknown, or `layers` is empty.
  """

  model: str = "teacher"
  layers: tuple[int, ...] | str | None = None
  pool: str | tuple[str, ...] = "mean"

  def __post_init__(self) -> None:
    _check_choice("model", self.model, MODELS)
    if not isinstance(self.pool, str):
      object.__setattr__(self, "pool", tuple(self.pool))
      if not self.pool:
        raise ValueError(
          "Features: pool is (); give one, such as 'mean', or several to "
          "choose from"
        )
    for name in self.pools:
      with _errors_here():
        pooling.parse(name)
    if self.layers not in (None, ALL):
      if isinstance(self.layers, int | str) or not len(self.layers):
        raise ValueError(
          f"Features: layers is {self.layers!r}; give at least one layer in a "
          "tuple, such as (-1,), None for the final output, or 'all'"
        )
      # A config may give a list, which could not be hashed.
      object.__setattr__(self, "layers", tuple(self.layers))

  @property
  def pools(self) -> tuple[str, ...]:
    """The poolings, one or several."""
    return (self.pool,) if isinstance(self.pool, str) else self.pool

  def check(self, grid: pooling.Grid) -> None:
    """Checks that a network's tokens can be pooled so.

    Args:
      grid: (H, W) of its patches; () for tokens in time.

    Raises:
      ValueError: If they cannot.
    """
    for name in self.pools:
      if name != CLS:
        with _errors_here():
          pooling.check(name, grid)


@dataclasses.dataclass(frozen=True)
class Predictions:
  """Asks for what the objective predicts, in place of features.

  Args:
    split: The only split of which it is computed: `train`, `test`, or one whose
      name begins with `test_`.
    scores: Whether scores are asked for, of every class or (at each frame)
      character, and not only what is likeliest.

  Raises:
    ValueError: If no split can have this name.
  """

  split: str = "test"
  scores: bool = False

  def __post_init__(self) -> None:
    if not is_split(self.split):
      raise ValueError(
        f"Predictions: unknown split {self.split!r}; choose train, test, or a "
        "further one named test_..., such as test_other"
      )


@dataclasses.dataclass(frozen=True)
class TokenSums:
  """Asks for sums over the examples of a split, of each token's position.

  Args:
    model: `'teacher'`, or `'student'`.
    split: The only split whose sums are computed, as for `Predictions`.

  Raises:
    ValueError: If `model` is unknown, or no split can have this name.
  """

  model: str = "teacher"
  split: str = "test"

  def __post_init__(self) -> None:
    _check_choice("model", self.model, MODELS)
    if not is_split(self.split):
      raise ValueError(
        f"TokenSums: unknown split {self.split!r}; choose train, test, or a "
        "further one named test_..., such as test_other"
      )


Asked = Features | Predictions | TokenSums


def check_one_vector(features: Features, evaluator: str) -> None:
  """Raises ValueError where an example would have more than one vector.

  Args:
    features: Which features.
    evaluator: Its name, for the error.
  """
  if features.layers == ALL:
    raise ValueError(
      f"{evaluator}: features.layers is 'all', and this evaluator measures one "
      "vector for each example; choose a layer, such as (-1,), or None for the "
      "final output, or measure each layer with LayerCurve ('layer_curve')"
    )
  check_one_pool(features, evaluator)


def check_one_pool(features: Features, evaluator: str) -> None:
  """Raises ValueError where there are several poolings.

  Args:
    features: Which features.
    evaluator: Its name, for the error.
  """
  if not isinstance(features.pool, str):
    raise ValueError(
      f"{evaluator}: features.pool is {features.pool}, and this evaluator "
      "takes one pooling; choose one, such as 'mean_std', or let LinearProbe "
      "('linear_probe') or Knn ('knn') choose on held-out examples"
    )


def is_split(name: str) -> bool:
  """Whether a split may have this name."""
  return name in ("train", "test") or name.startswith("test_")


def pool_features(
  output: EncoderOutput, features: Features, grid: pooling.Grid = ()
) -> jax.Array:
  """Makes one vector per example of an encoder's output.

  Args:
    output: What `objective.encode` returned; `tokens` [B, N, D].
    features: Which layers to take and how to pool them, in one way.
    grid: (H, W) of the patches of images; () for tokens in time.

  Returns:
    [B, E], float32; [B, L + 1, E] for all layers and the final output. E is D
    for the mean and the CLS token; `pooling` says what else it is.

  Raises:
    ValueError: If a layer is out of range, there is no CLS token to take, or
      such tokens cannot be pooled so.
  """
  check_one_pool(features, "Features")
  (pool,) = features.pools
  features.check(grid)
  use_cls = pool == CLS

  def pooled(values: jax.Array) -> jax.Array:
    if use_cls:
      return values.astype(jnp.float32)
    return pooling.pool(values, output.padding, pool, grid)

  if not use_cls:
    final, layers = output.tokens, output.block
  elif output.cls is not None and output.block_cls is not None:
    final, layers = output.cls, output.block_cls
  else:
    raise ValueError(
      "Features: pool is 'cls' but this model has no CLS token; "
      "use pool='mean', or a model with a CLS token"
    )
  # final [B, N, D], layers [L, B, N, D]; of CLS tokens without N
  if features.layers is None:
    return pooled(final)
  if isinstance(features.layers, str):
    # [B, L + 1, E]
    return jnp.stack([pooled(x) for x in (*layers, final)], axis=1)
  depth = len(layers)
  for layer in features.layers:
    if not -depth <= layer < depth:
      raise ValueError(
        f"Features: layer {layer} is out of range; this model has depth "
        f"{depth}, so layers are {-depth} to {depth - 1}"
      )
  average = layers[np.array(features.layers)].mean(0, dtype=jnp.float32)
  return pooled(average)


def token_features(
  output: EncoderOutput, features: Features
) -> tuple[jax.Array, jax.Array]:
  """Takes the features of each token by itself.

  Args:
    output: of an encoder; `tokens` [B, N, D].
    features: which layers; `pool` does not matter.

  Returns:
    float32 [B, N, D] ([B, N, L + 1, D] for all layers), padding last, and
    int [B], the number of tokens before it.

  Raises:
    ValueError: a layer is out of range.
  """
  batch, count = output.tokens.shape[:2]

  def alone(x):  # [..., B, N, D] -> [..., B * N, 1, D]
    return x.reshape(*x.shape[:-3], batch * count, 1, x.shape[-1])

  each = output._replace(
    tokens=alone(output.tokens), block=alone(output.block), padding=None
  )
  values = pool_features(each, dataclasses.replace(features, pool="mean"))
  sizes = jnp.full(batch, count)
  if output.padding is not None:
    sizes = (~output.padding).sum(1)
  return values.reshape(batch, count, *values.shape[1:]), sizes


def labelled(
  features: SplitFeatures, split: str
) -> tuple[np.ndarray, np.ndarray]:
  """Takes a split whose class labels are needed.

  Args:
    features: Split name -> (features [n, D] float32, labels [n] or None).
    split: Name of the split.

  Returns:
    Features [n, D] float32 and labels [n] int32.

  Raises:
    ValueError: If the split has no labels, or they are not class numbers.
  """
  x, y = features[split]
  if y is None:
    raise ValueError(
      f"split {split!r} has no labels, which this evaluator needs; add "
      "'label' to its batches or remove the evaluator from "
      "config.evaluation.evaluators"
    )
  if y.ndim != 1 or not np.issubdtype(y.dtype, np.integer) or y.min() < 0:
    raise ValueError(
      f"split {split!r} has labels of shape {y.shape} and type {y.dtype}, "
      f"smallest {y.min()}; this evaluator needs one class number >= 0 for "
      "each example (for sets of classes there is 'mean_average_precision')"
    )
  return x, y.astype(np.int32)


@contextlib.contextmanager
def _errors_here() -> Iterator[None]:
  try:
    yield
  except ValueError as e:
    raise ValueError(f"Features: {e}") from e


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
  if value not in choices:
    raise ValueError(
      f"Features: unknown {name} {value!r}; choose one of: {', '.join(choices)}"
    )
