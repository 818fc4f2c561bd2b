import jax.numpy as jnp
import numpy as np

from d2v_jax.evaluators.linear_classifiers import LinearClassifiers, score


def make(n=20_000):
  rng = np.random.default_rng(0)
  shapes = {"mean": (3,), "weights": (2, 3, 4), "bias": (2, 4)}
  arrays = {k: rng.normal(size=s) for k, s in shapes.items()}
  arrays["std"] = np.array([0.5, 1.0, 2.0])
  classifiers = LinearClassifiers(
    **{k: jnp.asarray(v, "f4") for k, v in arrays.items()}
  )
  x = rng.normal(size=(n, 3)).astype(np.float32)
  return classifiers, x, rng.integers(0, 4, n).astype(np.int32)


def test_equals_numpy_in_several_chunks():
  classifiers, x, y = make()
  accuracy, loss = score(classifiers, x, y)
  mean, std, weights, bias = (np.asarray(a, np.float64) for a in classifiers)
  for g in range(2):
    logits = (x - mean) / std @ weights[g] + bias[g]
    entropy = np.log(np.exp(logits).sum(1)) - logits[np.arange(len(y)), y]
    assert accuracy[g] == np.mean(logits.argmax(1) == y)
    np.testing.assert_allclose(loss[g], entropy.mean(), rtol=1e-5)


def test_class_that_was_not_trained_is_a_mistake():
  classifiers, x, y = make(10)
  accuracy, _ = score(classifiers, x, y * 0 + 7)
  assert accuracy.tolist() == [0, 0]


def test_diverged_classifier():
  classifiers, x, y = make(10)
  classifiers = classifiers._replace(bias=classifiers.bias.at[0].set(jnp.nan))
  accuracy, loss = score(classifiers, x, y * 0)
  assert (accuracy[0], loss[0]) == (0, np.inf)
  assert np.isfinite(loss[1])
