"""Checksums of arrays by value, computed where the arrays are."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec


def of(leaves: list[jax.Array]) -> np.ndarray:
  """Fingerprints arrays by value, alike for every sharding and host count.

  An element's bits are one word w[i] of 32 bits (64-bit ones: two words, low
  first), i its position in row-major order. The fingerprint is the sum of w[i]
  and the sum of w[i] (2 i + 1), both modulo 2^32: each changes with any
  single bit, the second also when values trade positions.

  Args:
    leaves: arrays of any shape, all on the same devices.

  Returns:
    uint32 `[len(leaves), 2]`, in every process.
  """
  if not leaves:
    return np.zeros((0, 2), np.uint32)
  named = [x.sharding for x in leaves if isinstance(x.sharding, NamedSharding)]
  everywhere = NamedSharding(named[0].mesh, PartitionSpec()) if named else None
  return jax.device_get(_fingerprints(leaves, everywhere))


@functools.partial(jax.jit, static_argnums=1)
def _fingerprints(
  leaves: list[jax.Array], everywhere: NamedSharding | None
) -> jax.Array:
  table = jnp.stack([_fingerprint(leaf) for leaf in leaves])
  if everywhere is None:
    return table
  return jax.lax.with_sharding_constraint(table, everywhere)


def _fingerprint(x: jax.Array) -> jax.Array:
  if x.dtype == jnp.bool_:
    x = x.astype(jnp.uint8)
  word = jnp.dtype(f"uint{8 * min(x.dtype.itemsize, 4)}")
  words = jax.lax.bitcast_convert_type(x, word).astype(jnp.uint32)
  # The index is summed over axes: a reshape would gather a sharded array.
  index, stride = jnp.zeros(words.shape, jnp.uint32), 1
  for axis in reversed(range(words.ndim)):
    position = jax.lax.broadcasted_iota(jnp.uint32, words.shape, axis)
    index += position * np.uint32(stride % 2**32)
    stride *= words.shape[axis]
  weighted = words * (2 * index + 1)
  return jnp.stack([jnp.sum(w, dtype=jnp.uint32) for w in (words, weighted)])
