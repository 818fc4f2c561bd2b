"""What dropout keeps: a hash of where it is.

Neither has the forward pass to keep a mask, nor needs the backward pass a
generator in the state that it was in, and it is the same in every
implementation of attention and on any number of devices. It takes far fewer
operations than JAX's generator (docs/speed.md has what that was of a step).
Rates are rounded to 1 / 65536. One hash of 32 bits decides for the same weight
of two heads.
"""

import math

import jax
import jax.numpy as jnp

_LEVELS = 1 << 16


def dropout_keys(rng: jax.Array, batch: int, num_heads: int) -> jax.Array:
  """Keys of the hash, [batch, pairs of heads, 2] int32."""
  shape = (batch, (num_heads + 1) // 2, 2)
  bits = jax.random.bits(rng, shape, jnp.uint32)
  return jax.lax.bitcast_convert_type(bits, jnp.int32)


def dropped_levels(rate: float) -> int:
  """How many of the 65536 values of a hash are dropped."""
  return round(rate * _LEVELS)


def kept_share(rate: float) -> float:
  """Probability that a weight is kept, for a rate as it is rounded."""
  return 1.0 - dropped_levels(rate) / _LEVELS


def hashed(
  first: jax.Array, second: jax.Array, query: jax.Array, key: jax.Array
) -> jax.Array:
  """32 random bits for each query and key, or token and channel.

  Args:
    first: int32, half of the key of an example and a pair of heads.
    second: int32, the other half.
    query: int32 below 65536, index of the query or token.
    key: int32 below 65536, index of the key or channel.

  Returns:
    int32, as they broadcast.

  Source: the multipliers and shifts of Wellons' "lowbias32" hash (public
  domain), with the second half of the key put in between.
  """
  x = (jnp.left_shift(query, 16) | key) ^ first
  x = (x ^ _shift(x, 16)) * jnp.int32(0x7FEB352D)
  x = (x ^ _shift(x, 15) ^ second) * jnp.int32(0x846CA68B - (1 << 32))
  return x ^ _shift(x, 16)


def kept(bits: jax.Array, head: int | jax.Array, rate: float) -> jax.Array:
  """Whether weights are kept, bool, by the `hashed` bits of a pair of heads."""
  bits = _shift(bits, 16 * (head % 2))
  return (bits & (_LEVELS - 1)) >= dropped_levels(rate)


def _shift(x, bits):
  return jax.lax.shift_right_logical(x, jnp.asarray(bits, x.dtype))


def kept_elements(
  rng: jax.Array, shape: tuple[int, ...], rate: float
) -> jax.Array:
  """Which elements of [B, ..., D] are kept, bool of that shape.

  Args:
    rng: a key.
    shape: D, and the axes between B and D together, below 65536.
    rate: probability that an element is dropped.
  """
  batch, *middle, width = shape
  first, second = jnp.moveaxis(dropout_keys(rng, batch, 1), -1, 0)  # [B, 1]
  token = jnp.arange(math.prod(middle), dtype=jnp.int32)
  channel = jnp.arange(width, dtype=jnp.int32)
  bits = hashed(
    first[..., None], second[..., None], token[:, None], channel
  )  # [B, N, D]
  return kept(bits, 0, rate).reshape(shape)


def kept_weights(
  keys: jax.Array, num_heads: int, length: int, rate: float
) -> jax.Array:
  """Which of all weights are kept.

  Args:
    keys: [B, pairs of heads, 2] int32, from `dropout_keys`.
    num_heads: number of heads.
    length: N, below 65536.
    rate: probability that a weight is dropped.

  Returns:
    [B, heads, N, N] bool.
  """
  index = jnp.arange(length, dtype=jnp.int32)
  first, second = (keys[:, :, i, None, None] for i in range(2))
  bits = hashed(first, second, index[:, None], index)  # [B, pairs, N, N]
  masks = jnp.stack([kept(bits, head, rate) for head in range(2)], axis=2)
  masks = masks.reshape(len(keys), -1, length, length)
  return masks[:, :num_heads]
