"""Biases of attention, worked out by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from d2v_jax.models.attention.attention_bias import (
  AttentionBias,
  coordinates,
  distances,
  padding_bias,
)


def test_distances_in_a_sequence_and_in_a_grid():
  ids = jnp.array([[0, 2, 5]])
  line = distances(coordinates(ids))
  assert line.tolist() == [[[0, 2, 5], [2, 0, 3], [5, 3, 0]]]
  grid = distances(coordinates(ids, (2, 4)))
  assert grid.tolist() == [[[0, 2, 2], [2, 0, 2], [2, 2, 0]]]


@pytest.mark.parametrize("grid", [(), (2, 4)])
def test_extra_tokens_are_at_no_distance_from_anything(grid):
  ids = jnp.array([[0, 2, 5], [1, 2, 7]])
  both = distances(coordinates(ids, grid, extra=2))
  assert both.shape == (2, 5, 5)
  assert not both[:, :2].any()
  assert not both[:, :, :2].any()
  np.testing.assert_array_equal(
    both[:, 2:, 2:], distances(coordinates(ids, grid))
  )


def test_the_sum():
  rng = np.random.default_rng(0)
  pairs = rng.normal(size=(2, 3, 3)).astype(np.float32)
  padding = jnp.array([[False, False, True], [False, False, False]])
  alibi = {
    "coordinates": coordinates(jnp.array([[0, 1, 3]])),
    "slopes": jnp.array([1.0, 0.5]),
  }
  bias = AttentionBias(padding=padding, **alibi).plus_pairs(pairs)
  distance = np.array([[0, 1, 3], [1, 0, 2], [3, 2, 0]])
  expected = pairs - np.array([1.0, 0.5])[:, None, None] * distance
  dense = np.asarray(bias.dense())  # [B, heads, N, N]
  np.testing.assert_allclose(dense[1], expected, atol=1e-6)
  np.testing.assert_allclose(dense[0, :, :, :2], expected[..., :2], atol=1e-6)
  assert (dense[0, :, :, 2] < -1e8).all()
  np.testing.assert_array_equal(bias.plus_pairs(pairs).pairs, pairs + pairs)


def test_nothing_is_added_where_there_is_none():
  assert AttentionBias().dense() is None
  padding = jnp.zeros((2, 3), bool)
  np.testing.assert_array_equal(
    AttentionBias(padding=padding).dense(), padding_bias(padding)
  )
