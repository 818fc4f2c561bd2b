import jax
import jax.numpy as jnp
import numpy as np
import pytest

from d2v_jax.models.mlp_head import MlpHead


def make_vectors():
  return np.random.default_rng(9).normal(size=(3, 6))


def test_head_is_the_formula():
  with jax.enable_x64(True):
    x = make_vectors()
    head = MlpHead(6, 4, 3, compute_dtype="float64")
    shapes = jax.eval_shape(head.init, jax.random.key(0), x)
    rng = np.random.default_rng(0)
    p = jax.tree.map(lambda s: rng.normal(size=s.shape), shapes)
    got = head(p, x)

  def standardised(p, x):
    weights = p["kernel"] - p["kernel"].mean(0)
    weights = weights / np.linalg.norm(weights, axis=0) * p["scale"]
    return x @ weights + p["bias"]

  hidden = standardised(p["fc1"], x).reshape(3, 3, 2)
  hidden = (hidden - hidden.mean(-1, keepdims=True)) / np.sqrt(
    hidden.var(-1, keepdims=True) + 1e-5
  )
  hidden = hidden.reshape(3, 6) * p["norm"]["scale"] + p["norm"]["bias"]
  expected = standardised(p["fc2"], np.maximum(hidden, 0))
  np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9)


def test_the_speed_of_an_mlp_is_not_seen_in_its_outputs():
  x = make_vectors().astype(np.float32)
  slow, fast = MlpHead(16, 4), MlpHead(16, 4, speed=20.0)
  p, q = (h.init(jax.random.key(0), x) for h in (slow, fast))
  for name in ("fc1", "fc2"):
    np.testing.assert_allclose(
      p[name]["kernel"], 20 * q[name]["kernel"], rtol=1e-5
    )
  np.testing.assert_allclose(slow(p, x), fast(q, x), rtol=1e-4, atol=1e-5)


def test_an_mlp_has_no_statistics_of_the_batch():
  x = make_vectors().astype(np.float32)
  head = MlpHead(16, 4)
  p = head.init(jax.random.key(0), x)
  np.testing.assert_allclose(head(p, x[:1]), head(p, x)[:1], rtol=1e-5)


def test_parameters_are_float32_at_any_compute_dtype():
  head = MlpHead(16, 4, compute_dtype="bfloat16")
  x = make_vectors().astype(np.float32)
  p = head.init(jax.random.key(0), x)
  assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(p))
  assert np.isfinite(head(p, x)).all()


@pytest.mark.parametrize(
  ("make", "message"),
  [
    (
      lambda: MlpHead(10),
      "MlpHead: hidden 10 is not a multiple of groups 16; change one of them",
    ),
    (lambda: MlpHead(0), "MlpHead: hidden must be 1 or more, got 0"),
    (lambda: MlpHead(16, 0), "MlpHead: num_outputs must be 1 or more, got 0"),
    (lambda: MlpHead(speed=0), "MlpHead: speed must be above 0, got 0"),
  ],
)
def test_errors(make, message):
  with pytest.raises(ValueError, match=message):
    make()
