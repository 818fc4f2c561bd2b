"""Dropout of attention weights and of elements."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from d2v_jax.models.attention.attend import attend
from d2v_jax.models.attention.attention_bias import AttentionBias
from d2v_jax.models.hashed_dropout import (
  dropout_keys,
  hashed,
  kept_elements,
  kept_share,
  kept_weights,
)


def masks(seed=0, batch=8, heads=4, length=64, rate=0.1):
  keys = dropout_keys(jax.random.key(seed), batch, heads)
  return np.asarray(kept_weights(keys, heads, length, rate))


def test_the_hash_is_that_of_unsigned_integers():
  words = np.random.default_rng(0).integers(0, 1 << 32, (4, 5), np.uint32)
  first, second, query, key = words
  query, key = query >> 16, key >> 16
  x = (query << 16 | key) ^ first
  x = (x ^ x >> 16) * np.uint32(0x7FEB352D)
  x = (x ^ x >> 15 ^ second) * np.uint32(0x846CA68B)
  got = hashed(*(w.astype(np.int32) for w in (first, second, query, key)))
  np.testing.assert_array_equal(np.asarray(got).view(np.uint32), x ^ x >> 16)


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.5])
def test_the_rate(rate):
  assert abs(kept_share(rate) - (1 - rate)) < 1e-5
  kept = masks(rate=rate)
  sigma = (rate * (1 - rate) / kept.size) ** 0.5
  assert abs(kept.mean() - kept_share(rate)) < 4 * sigma
  # Rows, columns and their neighbours are independent of each other.
  for axis in (2, 3):
    spread = kept.mean(axis).std()
    assert spread == pytest.approx((rate * (1 - rate) / 64) ** 0.5, rel=0.1)
    both = (kept & np.roll(kept, 1, axis)).mean()
    assert abs(both - kept_share(rate) ** 2) < 6 * sigma


def test_each_example_head_and_step_has_a_mask_of_its_own():
  kept = np.concatenate([masks(seed) for seed in range(2)])
  rows = kept.reshape(-1, 64 * 64) - kept_share(0.1)
  correlation = rows @ rows.T / (64 * 64 * 0.09)
  others = correlation[~np.eye(len(rows), dtype=bool)]
  assert np.abs(others).max() < 0.1
  np.testing.assert_array_equal(masks(), masks())


def elements(seed=0, shape=(16, 48, 64), rate=0.1):
  return np.asarray(kept_elements(jax.random.key(seed), shape, rate))


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.5])
def test_the_rate_of_elements(rate):
  kept = elements(rate=rate)
  assert kept.shape == (16, 48, 64)
  sigma = (rate * (1 - rate) / kept.size) ** 0.5
  assert abs(kept.mean() - kept_share(rate)) < 4 * sigma
  # Tokens, channels, examples and their neighbours are independent.
  for axis, size in enumerate(kept.shape):
    spread = kept.mean(axis).std()
    assert spread == pytest.approx((rate * (1 - rate) / size) ** 0.5, rel=0.1)
    both = (kept & np.roll(kept, 1, axis)).mean()
    assert abs(both - kept_share(rate) ** 2) < 6 * sigma


def test_elements_of_each_example_and_step_are_dropped_anew():
  kept = np.concatenate([elements(seed) for seed in range(2)])
  rows = kept.reshape(len(kept), -1) - kept_share(0.1)
  correlation = rows @ rows.T / (rows.shape[1] * 0.09)
  others = correlation[~np.eye(len(rows), dtype=bool)]
  assert np.abs(others).max() < 0.1
  np.testing.assert_array_equal(elements(), elements())


def test_axes_between_examples_and_channels_are_one():
  deep, flat = elements(shape=(3, 4, 5, 6)), elements(shape=(3, 20, 6))
  np.testing.assert_array_equal(deep.reshape(flat.shape), flat)
  assert elements(shape=(3, 6)).shape == (3, 6)


def test_an_odd_number_of_heads():
  np.testing.assert_array_equal(masks(heads=3), masks(heads=4)[:, :3])


def test_the_mean_is_that_of_no_dropout():
  qkv = jax.random.normal(jax.random.key(0), (1, 6, 3 * 32))
  call = jax.jit(
    lambda key: attend(qkv, AttentionBias(), key, num_heads=2, dropout=0.3)
  )
  whole = attend(qkv, AttentionBias(), None, num_heads=2, dropout=0.3)
  keys = jax.random.split(jax.random.key(1), 400)
  mean = np.mean([call(key) for key in keys], axis=0)
  np.testing.assert_allclose(mean, whole, atol=0.15)
  assert np.abs(call(keys[0]) - whole).max() > 0.15


def test_forward_and_backward_pass_drop_the_same_weights():
  with jax.enable_x64(True):
    qkv = jax.random.normal(jax.random.key(0), (2, 5, 3 * 32), jnp.float64)
    key = jax.random.key(1)

    def loss(qkv):
      out = attend(qkv, AttentionBias(), key, num_heads=2, dropout=0.5)
      return jnp.sin(out).sum()

    check_grads(loss, (qkv,), 1, modes=["rev"], eps=1e-5)
