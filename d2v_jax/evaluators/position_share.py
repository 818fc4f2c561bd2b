"""How much of each layer is position alone: a sign of empty features."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from d2v_jax.evaluators.features import SplitFeatures, TokenSums

if TYPE_CHECKING:
  from d2v_jax.models.encoder import EncoderOutput

_OUTPUTS = ("block", "ffn")


@dataclasses.dataclass(frozen=True)
class PositionShare:
  """Share of the variance of tokens that their position explains, by layer.

  Of each layer's output, of its feed-forward part before the residual, which
  targets may be made of, and of the network's output. 1 where tokens at the
  same position are the same in all examples: there features say nothing of
  what an example shows. Takes one pass over the split and no labels.

  Args:
    split: Which split.
    model: `'teacher'`, or `'student'`.
  """

  split: str = "test"
  model: str = "teacher"

  @property
  def features(self) -> TokenSums:
    """What this evaluator asks for."""
    return TokenSums(self.model, self.split)

  def __call__(self, features: SplitFeatures) -> dict[str, float]:
    """Returns `block_00`, `ffn_00` and so on of L layers, and `final`.

    Each is estimated without what means of few examples have by chance: epsilon
    squared of an analysis of variance, over all D together.

    Args:
      features: What `FeatureExtractor` gives for `TokenSums`.

    Raises:
      ValueError: If no position has two examples.
    """
    count, sums, squares = (features[name][0] for name in Sums._fields)
    if count.max(initial=0) < 2:
      raise ValueError(
        f"PositionShare: split {self.split!r} has no two examples of which a "
        "token has the same position; evaluate more examples"
      )
    depth = (len(sums) - 1) // len(_OUTPUTS)
    names = [f"{name}_{i:02}" for name in _OUTPUTS for i in range(depth)]
    return {
      name: position_share(count, s, q)
      for name, s, q in zip((*names, "final"), sums, squares, strict=True)
    }


def position_share(
  count: np.ndarray, sums: np.ndarray, squares: np.ndarray
) -> float:
  """The share of one layer.

  Args:
    count: [N], examples that have a token at each position.
    sums: [N, D], of these tokens.
    squares: [N], of their squared norms.

  Returns:
    0 to 1; 0 where tokens do not differ at all.
  """
  some = count > 0
  count, sums, squares = count[some], sums[some], squares[some]
  examples, positions = float(np.sum(count)), len(count)
  within = (squares - (sums**2).sum(1) / count).sum()
  total = squares.sum() - (sums.sum(0) ** 2).sum() / examples
  if total <= 1e-12 * squares.sum():
    return 0.0
  ratio = within / (examples - positions) / (total / (examples - 1))
  return float(np.clip(1 - ratio, 0, 1))


class Sums(NamedTuple):
  """Of one batch.

  Attributes:
    examples: [N], that have a token at each position.
    sums: [O, N, D], of these tokens, of each of O outputs, from an offset.
    squares: [O, N], of their squared norms.
  """

  examples: jax.Array
  sums: jax.Array
  squares: jax.Array


def outputs(output: EncoderOutput) -> jax.Array:
  """What is measured of a network's output: [O, B, N, D], O = 2 L + 1."""
  layers = [getattr(output, name) for name in _OUTPUTS]
  stacked = jnp.concatenate([*layers, output.tokens[None]])
  return stacked.astype(jnp.float32)


def counted(output: EncoderOutput, valid: jax.Array | None) -> jax.Array:
  """Which tokens count: [B, N] float32, 0 at padding and in rows that fill."""
  real = jnp.ones(output.tokens.shape[:2], jnp.float32)
  if output.padding is not None:
    real *= ~output.padding
  return real if valid is None else real * valid[:, None]


def sums(
  output: EncoderOutput, valid: jax.Array | None, origin: jax.Array
) -> Sums:
  """Sums over the examples of a batch.

  Args:
    output: of an encoder.
    valid: [B] bool, False for rows that only fill the batch; None: all are.
    origin: [O, D], subtracted from all tokens: sums from near their mean keep
      the digits that a far one would take.
  """
  weight = counted(output, valid)  # [B, N]
  x = jnp.where(
    weight[..., None] > 0, outputs(output) - origin[:, None, None], 0
  )
  return Sums(weight.sum(0), x.sum(1), jnp.square(x).sum((1, 3)))
