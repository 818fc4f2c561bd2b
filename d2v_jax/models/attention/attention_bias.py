"""What is added to the logits of attention, kept as small as its reasons."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

# Added to the logits of padded keys: far below any logit, and still finite, so
# that a sequence that is all padding has no NaN.
PADDED = -1e9


class AttentionBias(NamedTuple):
  """Biases of attention's logits; the sum of those that are there.

  Summed they are an array [B, heads, N, N], which need not be in memory: see
  `attention`.

  Attributes:
    pairs: [heads, N, N], of each query and key, the same for all examples.
    padding: [B, N] bool, True for keys that are hidden.
    coordinates: [B, C, N] int, or B = 1 for all examples: where tokens are,
      along C axes. A negative one is at no distance from any other token.
    slopes: [heads], how fast attention falls with the distance of two tokens,
      the sum of those along the axes; comes with `coordinates`.

  Source of the last two: Press et al. 2022 (arXiv 2108.12409), and data2vec
  2.0's released code, where it is symmetric, as here.
  """

  pairs: jax.Array | None = None
  padding: jax.Array | None = None
  coordinates: jax.Array | None = None
  slopes: jax.Array | None = None

  def plus_pairs(self, pairs: jax.Array) -> "AttentionBias":
    """With [heads, N, N] more."""
    if self.pairs is not None:
      pairs = self.pairs + pairs
    return self._replace(pairs=pairs)

  def dense(self) -> jax.Array | None:
    """The sum, broadcastable to [B, heads, N, N], or None if it is empty."""
    terms = []
    if self.padding is not None:
      terms.append(padding_bias(self.padding))
    if self.coordinates is not None and self.slopes is not None:
      distance = distances(self.coordinates)[:, None]  # [B, 1, N, N]
      slopes = self.slopes[:, None, None]
      terms.append(-slopes * distance.astype(slopes.dtype))
    if self.pairs is not None:
      terms.append(self.pairs)
    return sum(terms[1:], start=terms[0]) if terms else None


def padding_bias(padding: jax.Array) -> jax.Array:
  """Attention bias [B, 1, 1, N] that hides padded tokens [B, N]."""
  return jnp.where(padding[:, None, None, :], PADDED, 0.0)


def coordinates(
  indices: jax.Array, grid: tuple[int, ...] = (), extra: int = 0
) -> jax.Array:
  """Coordinates of tokens, for `AttentionBias`.

  Args:
    indices: [B, V] int, position of each token in the whole input.
    grid: (H, W) if these count the patches of a grid row by row; else ().
    extra: tokens in front of these that are at no distance from anything.

  Returns:
    [B, C, extra + V] int: rows and columns, or positions.
  """
  axes = jnp.divmod(indices, grid[1]) if grid else (indices,)
  stacked = jnp.stack(axes, axis=1)  # [B, C, V]
  return jnp.pad(stacked, ((0, 0), (0, 0), (extra, 0)), constant_values=-1)


def distances(coordinates: jax.Array) -> jax.Array:
  """Distances [B, N, N] of tokens at [B, C, N] int, summed over the C axes."""
  x, y = coordinates[..., :, None], coordinates[..., None, :]
  return jnp.where((x < 0) | (y < 0), 0, jnp.abs(x - y)).sum(1)
