"""What a program of the attention kernel does: all of one example.

Its heads one group after the other, and of each head a block of queries with
all keys, so that a softmax needs no second look. A group is the fewest heads
whose width is a multiple of 128. Logits lie transposed, [keys, queries]: sums
over keys are then sums of registers, and what has to be turned is [N, 128] and
not [N, N].
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from d2v_jax.models import hashed_dropout
from d2v_jax.models.attention.kernel_products import dot, dot_nt
from d2v_jax.models.attention.tpu_sizes import LANES, QUERIES, TpuSizes


def forward(shape: TpuSizes, refs: dict[str, Any], out_ref: Any) -> None:
  """Attention of one example.

  Args:
    shape: sizes.
    refs: by name: `qkv` [1, N, 3 D]; `keys` of the dropout; of the bias `pairs`
      [heads, keys, queries], `padding` [1, 1, N], `coordinates` [1, C, N] and
      `slopes` [heads]; `distance` [N, N] to work in; and `example`, its number.
    out_ref: [1, N, D], to be written.
  """
  _measure(refs)

  def group(g, _):
    q_lanes, k_lanes, v_lanes = _lanes(shape, g)
    value_t = refs["qkv"][0, :, v_lanes].T  # [group, N]

    def block(start, size):
      rows = pl.ds(start, size)
      query = _scaled(shape, refs["qkv"][0, rows, q_lanes])
      kept = _dropout(shape, refs, g, start, size)
      parts = []
      for head in range(shape.heads_in_group):
        key = refs["qkv"][0, :, _window(shape, k_lanes, head)]
        logits = dot_nt(key, _of_head(shape, query, head))  # [N, queries]
        logits = _biased(shape, refs, logits, g, head, rows)
        weights = jnp.exp(logits - logits.max(0, keepdims=True))
        total = weights.sum(0, keepdims=True)  # [1, queries]
        if shape.dropout:
          weights = jnp.where(kept(head), weights, 0.0)
          total *= hashed_dropout.kept_share(shape.dropout)
        own = value_t[head * shape.head : (head + 1) * shape.head]
        mixed = dot(own, weights.astype(value_t.dtype))  # [d, queries]
        parts.append(mixed / total)
      out_ref[0, rows, q_lanes] = _turned(shape, parts, out_ref.dtype)

    _blocks(shape, block)

  _groups(shape, group)


def backward(
  shape: TpuSizes, refs: dict[str, Any], d_qkv_ref: Any, *sum_refs: Any
) -> None:
  """Gradients of one example; it computes the weights again.

  Args:
    shape: sizes.
    refs: as of `forward`; and `gradient` [1, N, D] of its output; `d_key` and
      `d_value` [N, width of a group] to work in.
    d_qkv_ref: [1, N, 3 D], to be written.
    *sum_refs: of all examples, to be added to: [heads, keys, queries] for the
      pairs and [heads, N] for the slopes, if the bias has those.
  """
  _measure(refs)
  sums = dict(
    zip([n for n in ("pairs", "slopes") if n in refs], sum_refs, strict=True)
  )

  @pl.when(refs["example"] == 0)
  def _():
    for ref in sum_refs:
      ref[...] = jnp.zeros_like(ref)

  def group(g, _):
    q_lanes, k_lanes, v_lanes = _lanes(shape, g)
    d_key, d_value = refs["d_key"], refs["d_value"]
    d_key[...] = jnp.zeros_like(d_key)
    d_value[...] = jnp.zeros_like(d_value)
    key_t = refs["qkv"][0, :, k_lanes].T  # [group, N]

    def block(start, size):
      rows = pl.ds(start, size)
      query = _scaled(shape, refs["qkv"][0, rows, q_lanes])
      gradient = refs["gradient"][0, rows, q_lanes]
      kept = _dropout(shape, refs, g, start, size)
      parts = []
      for head in range(shape.heads_in_group):
        window = slice(*shape.window(head))
        q_own = _of_head(shape, query, head)
        d_own = _of_head(shape, gradient, head)
        key = refs["qkv"][0, :, _window(shape, k_lanes, head)]
        value = refs["qkv"][0, :, _window(shape, v_lanes, head)]
        logits = _biased(shape, refs, dot_nt(key, q_own), g, head, rows)
        weights = jnp.exp(logits - logits.max(0, keepdims=True))
        weights *= 1.0 / weights.sum(0, keepdims=True)
        d_weights = dot_nt(value, d_own)  # [N, queries]
        dropped = weights
        if shape.dropout:
          # What is kept is scaled further down, where it is smaller.
          mask = kept(head)
          dropped = jnp.where(mask, weights, 0.0)
          d_weights = jnp.where(mask, d_weights, 0.0)
        d_value[:, window] += dot(dropped.astype(d_own.dtype), d_own)
        # dL/dlogits = w (dL/dw - sum w dL/dw)
        d_logits = weights * d_weights
        d_logits -= weights * d_logits.sum(0, keepdims=True)
        index = g * shape.heads_in_group + head
        if "pairs" in sums:
          sums["pairs"][index, :, rows] += d_logits
        if "slopes" in sums:
          far = d_logits * refs["distance"][:, rows]
          sums["slopes"][pl.ds(index, 1), rows] += far.sum(0, keepdims=True)
        d_logits = d_logits.astype(key.dtype)
        d_key[:, window] += dot(d_logits, q_own)
        own = key_t[head * shape.head : (head + 1) * shape.head]
        parts.append(dot(own, d_logits) * (shape.head**-0.5 / _share(shape)))
      d_qkv_ref[0, rows, q_lanes] = _turned(shape, parts, d_qkv_ref.dtype)

    _blocks(shape, block)
    for ref, lanes in ((d_key, k_lanes), (d_value, v_lanes)):
      scaled = ref[...] * (1.0 / _share(shape))
      d_qkv_ref[0, :, lanes] = scaled.astype(d_qkv_ref.dtype)

  _groups(shape, group)


def _groups(shape, body):
  """Calls body(g, None) for each group of heads."""
  jax.lax.fori_loop(0, shape.padded // shape.group, body, None)


def _blocks(shape, body):
  """Calls body(start, size) for blocks of queries; the last one is smaller."""
  full = shape.length // QUERIES

  def one(i, _):
    body(pl.multiple_of(i * QUERIES, QUERIES), QUERIES)

  if full:
    jax.lax.fori_loop(0, full, one, None)
  if shape.length % QUERIES:
    body(full * QUERIES, shape.length % QUERIES)


def _lanes(shape, g):
  """Where the queries, keys and values of a group lie."""
  return [
    pl.ds(
      pl.multiple_of(part * shape.padded + g * shape.group, LANES),
      shape.group,
    )
    for part in range(3)
  ]


def _window(shape, lanes, head):
  """The lanes of a group that hold one head, and a little of its neighbours."""
  start, stop = shape.window(head)
  return pl.ds(pl.multiple_of(lanes.start + start, LANES), stop - start)


def _of_head(shape, x, head):
  """[queries, group] to the window of one head, 0 where others are."""
  start, stop = shape.window(head)
  x = x[:, start:stop]
  if stop - start == shape.head:
    return x
  lane = jax.lax.broadcasted_iota(jnp.int32, x.shape, 1) + start
  own = (lane >= head * shape.head) & (lane < (head + 1) * shape.head)
  return jnp.where(own, x, jnp.zeros_like(x))


def _scaled(shape, query):
  exact = query.astype(jnp.promote_types(query.dtype, jnp.float32))
  return (exact * shape.head**-0.5).astype(query.dtype)


def _share(shape):
  return hashed_dropout.kept_share(shape.dropout)


def _turned(shape, parts, dtype):
  """Parts [d, queries] of the heads of a group to [queries, group]."""
  missing = shape.group - shape.head * len(parts)
  if missing:
    parts.append(jnp.zeros((missing, parts[0].shape[1]), parts[0].dtype))
  return jnp.concatenate(parts, axis=0).T.astype(dtype)


def _measure(refs):
  """Distances of all tokens of an example, once for all heads."""
  if "distance" not in refs:
    return
  places = refs["coordinates"][0]  # [C, N]
  total = 0.0
  for axis in range(places.shape[0]):
    row = places[axis : axis + 1]  # [1, N]
    column = _column(row)
    there = (row >= 0) & (column >= 0)
    total += jnp.where(there, jnp.abs(row - column), 0.0)
  refs["distance"][...] = total


def _column(row):
  """[1, N] as [N, 1]."""
  return jnp.broadcast_to(row, (8, row.shape[1])).T[:, :1]


def _biased(shape, refs, logits, g, head, rows):
  """Logits [N, queries] of a head with its bias."""
  index = g * shape.heads_in_group + head
  if "pairs" in refs:
    logits += refs["pairs"][index, :, rows]
  if "distance" in refs:
    logits -= refs["slopes"][index] * refs["distance"][:, rows]
  if "padding" in refs:
    logits += _column(refs["padding"][0])
  return logits


def _dropout(shape, refs, g, start, size):
  """A function of a head: which of its weights [N, queries] are kept."""
  in_group = shape.heads_in_group
  together = in_group % 2 == 0 or shape.group == shape.padded

  @functools.cache  # two heads share a hash
  def bits(local):
    pair = g * (in_group // 2) + local
    if not together:
      pair = jax.lax.shift_right_logical(g * in_group + local, 1)
    at = 2 * (refs["example"] * ((shape.num_heads + 1) // 2) + pair)
    sizes = (shape.length, size)
    key = jax.lax.broadcasted_iota(jnp.int32, sizes, 0)
    query = jax.lax.broadcasted_iota(jnp.int32, sizes, 1) + start
    keys = refs["keys"]
    return hashed_dropout.hashed(keys[at], keys[at + 1], query, key)

  def kept(head):
    if together:
      return hashed_dropout.kept(bits(head // 2), head % 2, shape.dropout)
    which = (g * in_group + head) & 1
    return hashed_dropout.kept(bits(head), which, shape.dropout)

  return kept
