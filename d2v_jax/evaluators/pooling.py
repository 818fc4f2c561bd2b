"""How the tokens of an example become one vector.

A pooling has one name, in configs, on command lines and in Python:

  mean        the mean over the tokens, D numbers
  cls         the CLS token, D
  tokens      of images: all tokens side by side, N * D
  mean_std    mean and standard deviation, 2 * D
  cells:R     of images: the means of R x R cells, row by row, R * R * D
  cells:RxC   the same of R rows and C columns, R * C * D; of a spectrogram
              the rows are time and the columns frequency
  segments:S  of all others: the means of S parts in time, S * D

Padding counts nowhere, and segments, like the rows of cells of a spectrogram,
are those of an example's real length.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import jax
import jax.numpy as jnp

_PLAIN = ("mean", "cls", "tokens", "mean_std")
_COUNT = "[1-9][0-9]*"
_COUNTED = re.compile(
  f"(?:(segments):({_COUNT})|(cells):({_COUNT})(?:x({_COUNT}))?)"
)
_NAMES = (
  *_PLAIN,
  "cells:R such as cells:2",
  "cells:RxC such as cells:8x2",
  "segments:S such as segments:8",
)

Grid = tuple[int, ...]


class Pooling(NamedTuple):
  """A name, read.

  Attributes:
    kind: what stands before the colon.
    parts: what stands behind it, of cells always (rows, columns); () where
      there is nothing.
  """

  kind: str
  parts: tuple[int, ...] = ()


def parse(name: str) -> Pooling:
  """Reads the name of a pooling.

  Raises:
    ValueError: there is none of this name.
  """
  if name in _PLAIN:
    return Pooling(name)
  counted = _COUNTED.fullmatch(str(name))
  if counted is None:
    raise ValueError(
      f"unknown pool {name!r}; choose one of: {', '.join(_NAMES)}"
    )
  if counted[1]:
    return Pooling(counted[1], (int(counted[2]),))
  return Pooling(counted[3], (int(counted[4]), int(counted[5] or counted[4])))


def check(name: str, grid: Grid) -> None:
  """Checks that tokens can be pooled so.

  Args:
    name: of a pooling.
    grid: (H, W) of the patches of images; () for tokens in time.

  Raises:
    ValueError: they cannot.
  """
  kind, parts = parse(name)
  if kind == "segments" and grid:
    raise ValueError(
      f"pool {name!r} is for tokens in time; of images take cells, such as "
      "'cells:2', and of spectrograms 'cells:8x1' for segments of time"
    )
  if kind == "cells" and not grid:
    raise ValueError(
      f"pool {name!r} is for images, whose tokens have rows and columns; of "
      "others take segments, such as 'segments:8'"
    )
  if kind == "tokens" and not grid:
    raise ValueError(
      "pool 'tokens' makes one vector of all tokens side by side, and of "
      "others each example has another number of them; take segments, "
      "such as 'segments:8'"
    )
  if kind == "cells" and any(p > n for p, n in zip(parts, grid, strict=True)):
    most = f"{min(parts[0], grid[0])}x{min(parts[1], grid[1])}"
    raise ValueError(
      f"pool {name!r} asks for {parts[0]} x {parts[1]} cells, and images have "
      f"{grid[0]} x {grid[1]} patches here; take at most cells:{most}"
    )


def pool(
  tokens: jax.Array, padding: jax.Array | None, name: str, grid: Grid = ()
) -> jax.Array:
  """Makes one vector of the tokens of each example.

  Where parts do not divide the tokens, part i of P covers those from
  floor(i * N / P) up to ceil((i + 1) * N / P): neighbours share a token, and
  with fewer tokens than parts some have the same one.

  Args:
    tokens: [B, N, D]; what stands at padding does not matter.
    padding: [B, N] bool, True where a token is padding, of a grid in whole
      rows; None: nowhere.
    name: of a pooling; not 'cls', which is no matter of these tokens.
    grid: (H, W) of the patches of images; () for tokens in time.

  Returns:
    [B, E] float32; zeros for an example of padding alone. Parts come one after
    the other: [B, P, D] in one row.

  Raises:
    ValueError: tokens cannot be pooled so.
  """
  check(name, grid)
  kind, parts = parse(name)
  tokens = tokens.astype(jnp.float32)
  if padding is not None:
    tokens = jnp.where(padding[..., None], 0, tokens)
  if kind == "mean":
    return _mean(tokens, padding)
  if kind == "mean_std":
    mean = _mean(tokens, padding)
    deviation = tokens - mean[:, None]
    variance = _mean(_real(deviation, padding) ** 2, padding)
    return jnp.concatenate([mean, jnp.sqrt(variance)], -1)
  if kind == "cells":
    return _cells(tokens, padding, parts, grid)
  if kind == "segments":
    return _segments(tokens, padding, *parts)
  return _side_by_side(tokens)


def _mean(tokens: jax.Array, padding: jax.Array | None) -> jax.Array:
  """Mean [B, D] of tokens that are 0 at padding."""
  if padding is None:
    return tokens.mean(1)
  # Rows that fill a batch may be all padding.
  return tokens.sum(1) / jnp.maximum((~padding).sum(1), 1)[:, None]


def _real(values: jax.Array, padding: jax.Array | None) -> jax.Array:
  return values if padding is None else jnp.where(padding[..., None], 0, values)


def _cells(
  tokens: jax.Array,
  padding: jax.Array | None,
  parts: tuple[int, ...],
  grid: Grid,
) -> jax.Array:
  # Not by len(): B may be a symbol.
  batch, _, size = tokens.shape
  images = tokens.reshape(batch, *grid, size)  # [B, H, W, D]
  real = jnp.ones(images.shape[:2], bool)  # [B, H]
  if padding is not None:
    real = ~padding.reshape(images.shape[:3]).all(2)
  rows = _shares_of_real(real, parts[0])  # [B, R, H]
  width = grid[1]
  columns = _shares(jnp.arange(width), jnp.asarray(width), parts[1])  # [C, W]
  means = jnp.einsum(
    "brh,cw,bhwd->brcd", rows, columns, images, precision="highest"
  )
  return _side_by_side(means)


def _segments(
  tokens: jax.Array, padding: jax.Array | None, parts: int
) -> jax.Array:
  if padding is None:
    padding = jnp.zeros(tokens.shape[:2], bool)
  shares = _shares_of_real(~padding, parts)
  means = jnp.einsum("bsn,bnd->bsd", shares, tokens, precision="highest")
  return _side_by_side(means)


def _shares_of_real(real: jax.Array, parts: int) -> jax.Array:
  """`_shares` [B, P, N] among those of each example that are real [B, N]."""
  place = jnp.where(real, jnp.cumsum(real, 1) - 1, -1)
  return jax.vmap(_shares, (0, 0, None))(place, real.sum(1), parts)


def _shares(place: jax.Array, count: jax.Array, parts: int) -> jax.Array:
  """What each token weighs in each part's mean.

  Args:
    place: [N] int, of each token from 0; -1 for none, which is in no part.
    count: [] int, of places.
    parts: P.

  Returns:
    [P, N] float32; rows sum to 1, or are 0 where there is no place.
  """
  part = jnp.arange(parts)[:, None]
  first, end = part * count // parts, -(-(part + 1) * count // parts)
  members = (place >= first) & (place < end)  # [P, N]
  return members / jnp.maximum(members.sum(1, keepdims=True), 1)


def _side_by_side(vectors: jax.Array) -> jax.Array:
  """[B, ..., D] as [B, E]."""
  return vectors.reshape(vectors.shape[0], -1)
