"""Accuracy of a linear classifier that few labels were given."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from d2v_jax.config import FromRun
from d2v_jax.data.ranges import check_range
from d2v_jax.evaluators import placed
from d2v_jax.evaluators.features import (
  Features,
  SplitFeatures,
  check_one_vector,
  labelled,
)
from d2v_jax.evaluators.interval import summary
from d2v_jax.evaluators.linear_classifiers import (
  LinearClassifiers,
  moments,
  score,
)

_Params = tuple[jax.Array, jax.Array]  # weights [D, C], bias [C]

_FOLDS = 5
# Of draws too small to choose on; there it hardly matters.
_FIXED_DECAY = 0.01
# Full-batch L-BFGS: norm of the gradient at which it stops, and iterations.
_TOLERANCE = 3e-5
_ITERATIONS = 300


@dataclasses.dataclass(frozen=True)
class LowShot:
  """Multinomial logistic regression on a few labels, drawn several times.

  Of each class the same number, or the same share, of training examples is
  drawn. Mean cross entropy plus a weight decay is minimised over them. Features
  are standardised by the whole training split, which takes no labels.

  The weight decay is the one with the least cross entropy in cross-validation
  inside the draw: as many folds as the rarest class of the draw has examples,
  at most 5, to which each class is dealt evenly. Where a class has one example
  only it is 0.01. The test split has one use: the final accuracy.

  Args:
    per_class: Numbers of examples drawn of each class.
    fractions: Shares of each class's examples that are drawn, rounded, but at
      least one example.
    weight_decays: Tried weights of half the squared norm of the weights.
    seeds: How often examples are drawn, with seeds counted from `seed`. Of
      the same seed, draws of fewer examples are parts of those of more.
    seed: Of the first draw.
    features: Which features.
    mesh: Devices that share the work; None: one.
  """

  per_class: tuple[int, ...] = (1, 5, 10)
  fractions: tuple[float, ...] = (0.01, 0.1)
  weight_decays: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 0.1, 1.0)
  seeds: int = 5
  seed: int = 0
  features: Features = dataclasses.field(default_factory=Features)
  mesh: FromRun[Mesh | None] = None

  def __post_init__(self) -> None:
    check_one_vector(self.features, "LowShot")
    check_range("LowShot", "seed", self.seed, 0, 2**32 - 1)
    if not len(self.per_class) + len(self.fractions):
      raise ValueError(
        "LowShot: per_class and fractions are both empty; give at least one "
        "number or share, such as per_class=(5,)"
      )
    if any(not isinstance(k, int) or k < 1 for k in self.per_class):
      raise ValueError(
        f"LowShot: per_class is {self.per_class}; choose whole numbers of "
        "examples of each class, at least 1 (shares go into fractions)"
      )
    if any(not 0 < f <= 1 for f in self.fractions):
      raise ValueError(
        f"LowShot: fractions is {self.fractions}; choose shares of the "
        "training split above 0 and at most 1, such as 0.01 for 1 %"
      )
    if not len(self.weight_decays) or min(self.weight_decays) <= 0:
      raise ValueError(
        f"LowShot: weight_decays is {self.weight_decays}; give at least one, "
        "all above 0, without which few examples have no best weights"
      )
    if self.seeds < 1:
      raise ValueError(f"LowShot: seeds is {self.seeds}; it must be at least 1")

  def __call__(self, features: SplitFeatures) -> dict[str, float]:
    """Returns mean test accuracies over draws.

    `shots_<k>` for each of `per_class` and `share_<f>` for each of `fractions`.
    With several seeds each has the 95 % interval of the mean over draws,
    `shots_<k>_low` and `shots_<k>_high`.

    Args:
      features: Splits `train` and `test`, both with labels.

    Raises:
      ValueError: If a split has no labels, or the training split has less than
        two classes, or too few examples of a class.
    """
    x, y = labelled(features, "train")
    test_x, test_y = labelled(features, "test")
    classes, y, sizes = np.unique(y, return_inverse=True, return_counts=True)
    if len(classes) < 2:
      raise ValueError(
        f"LowShot: the training split has class {classes[0]} only; this "
        "evaluator needs two or more classes"
      )
    # A class that the training split lacks counts as a mistake.
    index = np.searchsorted(classes, test_y).clip(max=len(classes) - 1)
    known = classes[index] == test_y
    test_y = np.where(known, index, len(classes)).astype(np.int32)
    mean, std = moments(x)
    results: dict[str, float] = {}
    for name, counts in self._draws(classes, sizes).items():
      accuracies = []
      for seed in range(self.seed, self.seed + self.seeds):
        rows, ranks = draw(y, counts, seed)
        weights, bias = self._fit((x[rows] - mean) / std, y[rows], ranks)
        fitted = LinearClassifiers(mean, std, weights[None], bias[None])
        scores, _ = score(fitted, test_x, test_y, mesh=self.mesh)
        accuracies.append(scores[0])
      results |= summary(name, accuracies)
    return results

  def _draws(
    self, classes: np.ndarray, sizes: np.ndarray
  ) -> dict[str, np.ndarray]:
    """Name of each kind of draw -> how many of each class [C]."""
    rarest = int(np.argmin(sizes))
    if max(self.per_class, default=0) > sizes[rarest]:
      raise ValueError(
        f"LowShot: per_class is {self.per_class}, but class {classes[rarest]} "
        f"has {sizes[rarest]} training examples; choose at most "
        f"{sizes[rarest]}, or add examples"
      )
    shots = {f"shots_{k}": np.full_like(sizes, k) for k in self.per_class}
    return shots | {
      f"share_{f}": np.maximum(1, np.rint(f * sizes).astype(int))
      for f in self.fractions
    }

  def _fit(
    self, x: np.ndarray, y: np.ndarray, ranks: np.ndarray
  ) -> tuple[np.ndarray, np.ndarray]:
    """Chooses the weight decay; weights [D, C] and bias [C] with it."""
    counts = np.bincount(y)
    folds = min(_FOLDS, int(np.min(counts)))
    # Solutions follow each other from the strongest decay to the weakest.
    decays = sorted(self.weight_decays, reverse=True)
    # The first row is the whole draw, each other leaves out a fold.
    left_out = [-1, *range(folds)]
    if folds < 2:
      decays, left_out = [_FIXED_DECAY], [-1]
    kept = ranks[:, None] % folds != np.array(left_out)  # [n, F]
    mesh = self.mesh or placed.one_device()
    # Rows that fill up are neither kept nor left out.
    rows = mesh.size * -(-len(x) // mesh.size)
    path = _path(
      *(
        placed.split(a, mesh, rows)
        for a in (x, y.astype(np.int32), kept, ~kept)
      ),
      placed.everywhere(np.array(decays, np.float32), mesh),
      classes=len(counts),
    )
    weights, bias, loss = placed.fetched(path, mesh)
    best = int(loss.argmin())
    return weights[best], bias[best]


def draw(
  y: np.ndarray, counts: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
  """Draws examples of each class without replacement.

  Args:
    y: [n], class numbers 0 to C - 1.
    counts: [C], how many of each class; at most all.
    seed: Of the order in which each class's examples come.

  Returns:
    Rows [m], classes one after the other, and their ranks [m] in the order of
    their class, from 0. The same seed and larger counts give these rows, too.
  """
  order = np.random.default_rng(seed).permutation(len(y))
  order = order[np.argsort(y[order], kind="stable")]
  starts = np.searchsorted(y[order], np.arange(len(counts)))
  ranks = np.arange(len(y)) - starts[y[order]]
  drawn = ranks < counts[y[order]]
  return order[drawn], ranks[drawn]


@functools.partial(jax.jit, static_argnames="classes")
def _path(
  x: jax.Array,
  y: jax.Array,
  kept: jax.Array,
  left_out: jax.Array,
  decays: jax.Array,
  *,
  classes: int,
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Solutions for each decay [G], and their losses on what was left out.

  Args:
    x: [n, D].
    y: [n].
    kept: [n, F], what each of F fits sees; the first one is returned.
    left_out: [n, F], on what its loss is.
    decays: [G].
    classes: C.

  Returns:
    Weights [G, D, C], bias [G, C], cross entropy [G].
  """

  def entropy(params: _Params) -> jax.Array:
    logits = jnp.matmul(x, params[0], precision="highest") + params[1]
    return optax.softmax_cross_entropy_with_integer_labels(logits, y)

  def solve(kept: jax.Array, decay: jax.Array, params: _Params) -> _Params:
    def loss(params: _Params) -> jax.Array:
      penalty = decay / 2 * (params[0] ** 2).sum()
      return entropy(params).mean(where=kept) + penalty

    return _minimise(loss, params)

  def step(params: _Params, decay: jax.Array) -> tuple[_Params, Any]:
    params = jax.vmap(solve, (1, None, 0))(kept, decay, params)
    losses = jax.vmap(entropy, out_axes=1)(params)  # [n, F]
    loss = jnp.where(left_out, losses, 0).sum()
    return params, (*(p[0] for p in params), loss)

  fits = kept.shape[1]
  start = jnp.zeros((fits, x.shape[1], classes)), jnp.zeros((fits, classes))
  return jax.lax.scan(step, start, decays)[1]


def _minimise(loss: Callable[[_Params], jax.Array], params: _Params) -> _Params:
  optimizer = optax.lbfgs()
  value_and_grad = optax.value_and_grad_from_state(loss)

  def step(carry: Any) -> Any:
    params, state, i = carry
    value, grad = value_and_grad(params, state=state)
    updates, state = optimizer.update(
      grad, state, params, value=value, grad=grad, value_fn=loss
    )
    return optax.apply_updates(params, updates), state, i + 1

  def unfinished(carry: Any) -> jax.Array:
    _, state, i = carry
    norm = optax.tree.norm(optax.tree.get(state, "grad"))
    return (i == 0) | ((i < _ITERATIONS) & (norm > _TOLERANCE))

  carry = params, optimizer.init(params), 0
  return jax.lax.while_loop(unfinished, step, carry)[0]
