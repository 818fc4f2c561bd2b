import json

import jax
import jax.numpy as jnp
import numpy as np

from d2v_jax.training.trouble import gradient_norms
from d2v_jax.training.trouble.gradient_norms import GradientLimit

LIMIT = GradientLimit(ratio=10.0, window=4)


def counted(values, norms=None):
  norms = gradient_norms.none_yet() if norms is None else norms
  count = jax.jit(LIMIT.counted)
  for value in values:
    norms = count(norms, jnp.float32(value))
  return norms


def test_nothing_is_too_large_until_there_are_enough():
  for values in ([], [1.0], [1.0, 3.0, 5.0]):
    assert LIMIT.largest(counted(values)) == np.inf
  assert LIMIT.largest(counted([1.0, 3.0, 5.0, 7.0])) == 40.0


def test_the_mean_forgets():
  norms = counted([1.0, 3.0, 5.0, 7.0, 8.0])
  assert norms.count == 4
  assert norms.mean == 5.0  # of 4, a quarter of the way to 8
  np.testing.assert_allclose(counted([2.0] * 99, norms).mean, 2.0, rtol=1e-6)


def test_a_checkpoint_has_the_same_numbers():
  norms = counted(np.random.default_rng(0).lognormal(size=9))
  text = json.dumps(gradient_norms.as_json(norms))
  count, mean = gradient_norms.of_json(json.loads(text))
  assert count == norms.count and mean == norms.mean
  assert mean.dtype == norms.mean.dtype == np.float32
  assert count.dtype == norms.count.dtype == np.int32


def test_there_may_be_none():
  assert gradient_norms.as_json(None) is None
  assert gradient_norms.of_json(None) == (0, 0.0)
