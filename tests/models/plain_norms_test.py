import jax.numpy as jnp
import numpy as np
import pytest

from d2v_jax.models import plain_norms
from tests.reference import data2vec as reference

NORMS = {name: getattr(plain_norms, f"{name}_norm") for name in reference.NORMS}


@pytest.mark.parametrize("name", sorted(NORMS))
def test_norms_against_numpy(name):
  x = np.random.default_rng(0).normal(2.0, 3.0, (3, 5, 7)).astype(np.float32)
  expected = reference.NORMS[name](x.astype(np.float64))
  np.testing.assert_allclose(NORMS[name](x), expected, rtol=0, atol=1e-5)


def test_norms_are_float32_for_bfloat16():
  for norm in NORMS.values():
    assert norm(jnp.ones((2, 3, 4), jnp.bfloat16)).dtype == jnp.float32
