"""What the programs of attention's kernels for NVIDIA's GPUs do.

A program has a tile of the queries or keys of one head, and meets the tiles of
all keys or queries one after the other: the softmax' maximum and sum are found
on the way. Logits are in base 2, in which exponentials are faster. Every sum
has one order, so that results are the same bit for bit.

Source: Dao 2023 (arXiv 2307.08691), with biases, their gradients and dropout of
ours.
"""

import dataclasses
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plt

from d2v_jax.models import hashed_dropout
from d2v_jax.models.attention.kernel_products import dot, dot_nt

LOG2_E = math.log2(math.e)

# What has an axis of examples is named by its place in the block of a program.
_Refs = dict[str, Any]


class Tiles(NamedTuple):
  """How a kernel is cut.

  Attributes:
    queries: that a program sees at once; a power of 2 up to 128.
    keys: the same.
    warps: of 32 threads, that compute a program.
    stages: how many tiles are on their way from memory at once.
  """

  queries: int
  keys: int
  warps: int
  stages: int


@dataclasses.dataclass(frozen=True)
class GpuSizes:
  """Sizes of one attention.

  Attributes:
    length: N.
    num_heads: number of heads.
    head: width of one.
    lanes: width with which it lies in memory, a power of 2.
    dropout: rate for the weights.
  """

  length: int
  num_heads: int
  head: int
  lanes: int
  dropout: float

  @property
  def scale(self) -> float:
    """Of the logits."""
    return self.head**-0.5

  @property
  def kept_share(self) -> float:
    """Probability that a weight is kept."""
    return hashed_dropout.kept_share(self.dropout)


def forward(sizes: GpuSizes, tiles: Tiles, refs: _Refs, *outputs: Any) -> None:
  """Attention of a tile of queries.

  Args:
    sizes: of the attention.
    tiles: of the kernel.
    refs: by name: `query`, `key` and `value` [1, N, lanes] of a head; `dropout`
      [1, pairs of heads, 2], keys of the hash; of the bias `pairs` [M, M] in
      base 2, with M >= N a multiple of the tiles, `padding` [1, M] in base 2,
      `coordinates` [1, C, M] and `slopes` [1] of the head, in base 2.
    *outputs: `out` [1, N, lanes] and `sums` [1, M], the logarithm in base 2 of
      the softmax' sum.
  """
  out_ref, sums_ref = outputs
  start, head = pl.program_id(0) * tiles.queries, pl.program_id(1)
  query = _rows(sizes, refs["query"], 0, start, tiles.queries)

  def meet(j, carry):
    mixed, peak, total = carry
    at = j * tiles.keys
    key = _rows(sizes, refs["key"], 0, at, tiles.keys)
    logits = _logits(sizes, refs, 0, query, key, start, at)
    new = jnp.maximum(peak, logits.max(1))
    weights = jnp.exp2(logits - new[:, None])  # [queries, keys]
    faded = jnp.exp2(peak - new)
    total = total * faded + weights.sum(1)
    if sizes.dropout:
      kept = _kept(sizes, refs, 0, head, start, at, weights.shape)
      weights = jnp.where(kept, weights, 0.0)
    value = _rows(sizes, refs["value"], 0, at, tiles.keys)
    more = dot(weights.astype(value.dtype), value)
    return mixed * faded[:, None] + more, new, total

  mixed, peak, total = jax.lax.fori_loop(
    0,
    pl.cdiv(sizes.length, tiles.keys),
    meet,
    (
      jnp.zeros((tiles.queries, sizes.lanes), jnp.float32),
      jnp.full((tiles.queries,), -jnp.inf, jnp.float32),
      jnp.zeros((tiles.queries,), jnp.float32),
    ),
  )
  mixed /= (total * sizes.kept_share)[:, None]
  _write(sizes, out_ref, start, 0, mixed)
  sums_ref[0, pl.ds(start, tiles.queries)] = peak + jnp.log(total) * LOG2_E


def backward_keys(
  sizes: GpuSizes, tiles: Tiles, refs: _Refs, d_ref: Any
) -> None:
  """Gradients of a tile of keys and values.

  Args:
    sizes: of the attention.
    tiles: of the kernel.
    refs: as of `forward`, `pairs` with the keys first; and `gradient`
      [1, N, lanes] of the output; `sums` [1, M], beyond N infinite; `deltas`
      [1, M], the product of output and gradient, beyond N 0.
    d_ref: [1, N, 3 heads lanes], of which it writes keys and values.
  """
  start, head = pl.program_id(0) * tiles.keys, pl.program_id(1)
  key = _rows(sizes, refs["key"], 0, start, tiles.keys)
  value = _rows(sizes, refs["value"], 0, start, tiles.keys)

  def meet(i, carry):
    d_key, d_value = carry
    at = i * tiles.queries
    query = _rows(sizes, refs["query"], 0, at, tiles.queries)
    logits = _logits(sizes, refs, 0, key, query, start, at, keys_first=True)
    rows = pl.ds(at, tiles.queries)
    weights = jnp.exp2(logits - refs["sums"][0, rows][None, :])
    gradient = _rows(sizes, refs["gradient"], 0, at, tiles.queries)
    d_weights = dot_nt(value, gradient)  # [keys, queries]
    dropped = weights
    if sizes.dropout:
      kept = _kept(sizes, refs, 0, head, at, start, weights.shape, True)
      # What is kept is scaled further down, where it is smaller.
      dropped = jnp.where(kept, weights, 0.0)
      d_weights = jnp.where(kept, d_weights, 0.0)
    d_value += dot(dropped.astype(gradient.dtype), gradient)
    d_logits = weights * (d_weights - refs["deltas"][0, rows][None, :])
    d_key += dot(d_logits.astype(query.dtype), query)
    return d_key, d_value

  zeros = jnp.zeros((tiles.keys, sizes.lanes), jnp.float32)
  tiles_of_queries = pl.cdiv(sizes.length, tiles.queries)
  d_key, d_value = jax.lax.fori_loop(0, tiles_of_queries, meet, (zeros, zeros))
  d_key *= sizes.scale / sizes.kept_share
  _write(sizes, d_ref, start, sizes.num_heads + head, d_key)
  d_value *= 1.0 / sizes.kept_share
  _write(sizes, d_ref, start, 2 * sizes.num_heads + head, d_value)


def backward_queries(
  sizes: GpuSizes, tiles: Tiles, refs: _Refs, d_ref: Any, *far_ref: Any
) -> None:
  """Gradients of a tile of queries.

  Args:
    sizes: of the attention.
    tiles: of the kernel.
    refs: as of `backward_keys`, `pairs` with the queries first.
    d_ref: [1, N, 3 heads lanes], of which it writes the queries.
    *far_ref: [1, M], for the gradient of the slopes: of each query the sum of
      the logits' gradients times the distances; if the bias has slopes.
  """
  start, head = pl.program_id(0) * tiles.queries, pl.program_id(1)
  rows = pl.ds(start, tiles.queries)
  query = _rows(sizes, refs["query"], 0, start, tiles.queries)
  given = _given(sizes, refs, 0, start, tiles.queries)

  def meet(j, carry):
    d_query, far = carry
    at = j * tiles.keys
    key = _rows(sizes, refs["key"], 0, at, tiles.keys)
    d_logits = _d_logits(sizes, refs, 0, head, query, key, given, start, at)
    if far_ref:
      distance = _distance(refs["coordinates"], 0, start, at, d_logits.shape)
      far += (d_logits * distance).sum(1)
    return d_query + dot(d_logits.astype(key.dtype), key), far

  d_query, far = jax.lax.fori_loop(
    0,
    pl.cdiv(sizes.length, tiles.keys),
    meet,
    (
      jnp.zeros((tiles.queries, sizes.lanes), jnp.float32),
      jnp.zeros((tiles.queries,), jnp.float32),
    ),
  )
  _write(sizes, d_ref, start, head, d_query * (sizes.scale / sizes.kept_share))
  if far_ref:
    far_ref[0][0, rows] = far


def backward_pairs(
  sizes: GpuSizes, tiles: Tiles, refs: _Refs, d_ref: Any
) -> None:
  """Gradients of a tile of the pairs, summed over some examples.

  Args:
    sizes: of the attention.
    tiles: of the kernel.
    refs: as of `backward_queries`, with several examples.
    d_ref: [1, M, M], of a head and these examples.
  """
  across = pl.cdiv(sizes.length, tiles.keys)
  tile, head = pl.program_id(0), pl.program_id(1)
  row, column = jax.lax.div(tile, across), jax.lax.rem(tile, across)
  start, at = row * tiles.queries, column * tiles.keys

  def add(example, total):
    query = _rows(sizes, refs["query"], example, start, tiles.queries)
    key = _rows(sizes, refs["key"], example, at, tiles.keys)
    given = _given(sizes, refs, example, start, tiles.queries)
    return total + _d_logits(
      sizes, refs, example, head, query, key, given, start, at
    )

  zeros = jnp.zeros((tiles.queries, tiles.keys), jnp.float32)
  total = jax.lax.fori_loop(0, refs["query"].shape[0], add, zeros)
  d_ref[0, pl.ds(start, tiles.queries), pl.ds(at, tiles.keys)] = total


def _given(sizes, refs, example, start, size):
  """Of a tile of queries: their outputs' gradients, sums and deltas."""
  rows = pl.ds(start, size)
  gradient = _rows(sizes, refs["gradient"], example, start, size)
  return gradient, refs["sums"][example, rows], refs["deltas"][example, rows]


def _d_logits(sizes, refs, example, head, query, key, given, start, at):
  """Gradients [queries, keys] of the logits, times the share that is kept."""
  gradient, sums, deltas = given
  logits = _logits(sizes, refs, example, query, key, start, at)
  weights = jnp.exp2(logits - sums[:, None])
  value = _rows(sizes, refs["value"], example, at, len(key))
  d_weights = dot_nt(gradient, value)
  if sizes.dropout:
    kept = _kept(sizes, refs, example, head, start, at, weights.shape)
    d_weights = jnp.where(kept, d_weights, 0.0)
  # dL/dlogits = w (dL/dw - sum w dL/dw)
  return weights * (d_weights - deltas[:, None])


def _logits(sizes, refs, example, left, right, start, at, *, keys_first=False):
  """Logits in base 2 of queries and keys, or of keys and queries."""
  logits = dot_nt(left, right) * (sizes.scale * LOG2_E)
  shape = logits.shape
  if "pairs" in refs:
    logits += refs["pairs"][pl.ds(start, shape[0]), pl.ds(at, shape[1])]
  if "slopes" in refs:
    distance = _distance(refs["coordinates"], example, start, at, shape)
    logits -= refs["slopes"][0] * distance
  axis, first = (0, start) if keys_first else (1, at)
  if "padding" in refs:
    hidden = refs["padding"][example, pl.ds(first, shape[axis])]
    logits += hidden[:, None] if keys_first else hidden[None, :]
  if sizes.length % shape[axis]:
    index = first + jax.lax.broadcasted_iota(jnp.int32, shape, axis)
    logits = jnp.where(index < sizes.length, logits, -jnp.inf)
  return logits


def _distance(ref, example, start, at, shape):
  """Distances of the tokens of two tiles, float32."""
  if ref.shape[0] == 1:  # all examples have the same
    example = 0
  total = jnp.zeros(shape, jnp.float32)
  for axis in range(ref.shape[1]):
    x = ref[example, axis, pl.ds(start, shape[0])][:, None]
    y = ref[example, axis, pl.ds(at, shape[1])][None, :]
    total += jnp.where((x < 0) | (y < 0), 0.0, jnp.abs(x - y))
  return total


def _kept(sizes, refs, example, head, query, key, shape, keys_first=False):
  """Which weights are kept, of tiles that begin with a query and a key."""
  pair = jax.lax.shift_right_logical(head, 1)
  first, second = (refs["dropout"][example, pair, i] for i in range(2))
  axes = (1, 0) if keys_first else (0, 1)
  query, key = (
    begin + jax.lax.broadcasted_iota(jnp.int32, shape, axis)
    for begin, axis in zip((query, key), axes, strict=True)
  )
  bits = hashed_dropout.hashed(first, second, query, key)
  return hashed_dropout.kept(bits, head & 1, sizes.dropout)


def _rows(sizes, ref, example, start, size):
  """Rows of [examples, N, lanes]; 0 beyond N."""
  example = jnp.asarray(example, jnp.int32)  # interpreted it must be an array
  part = ref.at[example, pl.ds(start, size), pl.ds(0, sizes.lanes)]
  if sizes.length % size == 0:
    return plt.load(part)
  return plt.load(part, mask=_there(sizes, start, size), other=0.0)


def _write(sizes, ref, start, column, rows):
  """Writes rows into a column of width `lanes`, those within N."""
  size = len(rows)
  lanes = pl.ds(column * sizes.lanes, sizes.lanes)
  mask = _there(sizes, start, size) if sizes.length % size else None
  part = ref.at[jnp.int32(0), pl.ds(start, size), lanes]
  plt.store(part, rows.astype(ref.dtype), mask=mask)


def _there(sizes, start, size):
  """Which rows are within N, [rows, lanes]."""
  shape = (size, sizes.lanes)
  index = start + jax.lax.broadcasted_iota(jnp.int32, shape, 0)
  return index < sizes.length
