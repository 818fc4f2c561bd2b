import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from d2v_jax.models.heads import LinearHead, RegressionHead, TokenHead
from d2v_jax.models.pooled_head import PooledHead

WIDTH = 6


def draw(head, tokens, seed=0):
  """Parameters far from symmetric, in float64."""
  rng = np.random.default_rng(seed)
  shapes = jax.eval_shape(head.init, jax.random.key(0), tokens)
  return jax.tree.map(lambda s: rng.normal(size=s.shape), shapes)


def make_tokens(n=5):
  return np.random.default_rng(9).normal(size=(3, n, WIDTH))


def linear(p, x):
  return x @ p["kernel"] + p["bias"]


def normed(p, x, eps=1e-6):
  x = x - x.mean(-1, keepdims=True)
  std = np.sqrt((x**2).mean(-1, keepdims=True) + eps)
  return x / std * p["scale"] + p["bias"]


def gelu(x):
  return 0.5 * x * (1 + np.vectorize(math.erf)(x / np.sqrt(2)))


class TestMaps:
  def test_regression(self):
    with jax.enable_x64(True):
      x = make_tokens()
      head = RegressionHead(3, "float64")
      p = draw(head, x)
      assert [p[f"fc{i}"]["kernel"].shape for i in (1, 2, 3)] == [
        (WIDTH, 2 * WIDTH),
        (2 * WIDTH, 2 * WIDTH),
        (2 * WIDTH, WIDTH),
      ]
      expected = linear(p["fc2"], gelu(linear(p["fc1"], x)))
      expected = linear(p["fc3"], gelu(expected))
      np.testing.assert_allclose(head(p, x), expected, rtol=1e-9, atol=1e-9)

  def test_no_regression(self):
    head = RegressionHead(0)
    x = make_tokens()
    assert head.init(jax.random.key(0), x) == {}
    assert head({}, x) is x

  def test_linear(self):
    with jax.enable_x64(True):
      x = make_tokens()
      head = LinearHead(4, "float64")
      p = draw(head, x)
      np.testing.assert_allclose(
        head(p, x), linear(p["fc1"], x), rtol=1e-9, atol=1e-9
      )

  @pytest.mark.parametrize("hidden", [False, True])
  @pytest.mark.parametrize("pool", ["mean", "first"])
  @pytest.mark.parametrize("padded", [False, True])
  def test_pooled(self, hidden, pool, padded):
    with jax.enable_x64(True):
      x = make_tokens()
      lengths = [5, 2, 1] if padded else [5, 5, 5]
      padding = np.arange(5) >= np.array(lengths)[:, None]
      # What stands at padded positions must not matter, whatever it is.
      x[padding] = np.nan
      head = PooledHead(4, pool, hidden, "float64")
      p = draw(head, x)
      got = head(p, x, padding if padded else None)
      one = {"mean": lambda r: r.mean(0), "first": lambda r: r[0]}[pool]
      pooled = np.stack(
        [one(row[:n]) for row, n in zip(x, lengths, strict=True)]
      )
      if hidden:
        pooled = np.tanh(linear(p["fc1"], pooled))
      expected = linear(p["fc2" if hidden else "fc1"], pooled)
      np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9)

  @pytest.mark.parametrize("norm", [False, True])
  @pytest.mark.parametrize("num_heads", [1, 3])
  def test_attentive(self, num_heads, norm):
    with jax.enable_x64(True):
      x = make_tokens()
      lengths = [5, 2, 1]
      padding = np.arange(5) >= np.array(lengths)[:, None]
      x[padding] = np.nan
      head = PooledHead(
        4,
        "attentive",
        compute_dtype="float64",
        norm=norm,
        num_heads=num_heads,
      )
      p = draw(head, make_tokens())
      assert p["pool"]["query"].shape == (num_heads, WIDTH // num_heads)
      got = head(p, x, padding)
      whole = head(p, make_tokens(), None)
    size = WIDTH // num_heads

    def one(row):
      keys, values = (
        row @ p["pool"]["key"]["kernel"],
        linear(p["pool"]["value"], row),
      )
      parts = []
      for h in range(num_heads):
        of = slice(h * size, (h + 1) * size)
        weights = np.exp(keys[:, of] @ p["pool"]["query"][h] / np.sqrt(size))
        parts.append(weights @ values[:, of] / weights.sum())
      pooled = np.concatenate(parts)
      if norm:
        pooled = normed(p["norm"], pooled)
      return linear(p["fc1"], pooled)

    expected = [one(row[:n]) for row, n in zip(x, lengths, strict=True)]
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(
      whole, [one(row) for row in make_tokens()], rtol=1e-9, atol=1e-9
    )

  @pytest.mark.parametrize("hidden", [False, True])
  def test_norm_of_what_is_pooled(self, hidden):
    with jax.enable_x64(True):
      x = make_tokens()
      head = PooledHead(4, "mean", hidden, "float64", norm=True)
      p = draw(head, x)
      expected = normed(p["norm"], x.mean(1))
      if hidden:
        expected = np.tanh(linear(p["fc1"], expected))
      expected = linear(p["fc2" if hidden else "fc1"], expected)
      np.testing.assert_allclose(head(p, x, None), expected, rtol=1e-9)

  def test_tokens(self):
    with jax.enable_x64(True):
      x = make_tokens()
      embedding = np.random.default_rng(1).normal(size=(11, WIDTH))
      head = TokenHead("float64")
      rng = np.random.default_rng(0)
      shapes = jax.eval_shape(head.init, jax.random.key(0), x, embedding)
      p = jax.tree.map(lambda s: rng.normal(size=s.shape), shapes)
      # All that is learned: the output matrix is the embedding.
      sizes = {k: jax.tree.map(np.shape, v) for k, v in p.items()}
      assert sizes == {
        "fc1": {"kernel": (WIDTH, WIDTH), "bias": (WIDTH,)},
        "norm": {"scale": (WIDTH,), "bias": (WIDTH,)},
        "bias": (11,),
      }
      hidden = normed(p["norm"], gelu(linear(p["fc1"], x)), 1e-5)
      expected = hidden @ embedding.T + p["bias"]
      got = head(p, x, embedding)
      np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9)

  @pytest.mark.parametrize("pool", ["mean", "attentive"])
  def test_a_row_of_padding_alone_is_finite(self, pool):
    head = PooledHead(2, pool, num_heads=2)
    x = make_tokens().astype(np.float32)
    p = head.init(jax.random.key(0), x)
    assert np.isfinite(head(p, x, np.ones((3, 5), bool))).all()


class TestInitialValues:
  def fresh(self, head):
    # One map with a fan-in of 400 and a fan-out of 400 or 100.
    tokens = jax.ShapeDtypeStruct((1, 2, 400), jnp.float32)
    p = jax.jit(lambda: head.init(jax.random.key(1), jnp.zeros(tokens.shape)))()
    return np.asarray(p["fc1"]["kernel"]), np.asarray(p["fc1"]["bias"])

  @pytest.mark.parametrize(
    ("head", "std", "largest", "bias_std"),
    [
      # 0.02 cut at one sigma has std 0.0108.
      (RegressionHead(), 0.0108, 0.02, 0),
      (RegressionHead(initial="normal"), 0.02, None, 0),
      # Uniform on +-b has std b / sqrt(3).
      (RegressionHead(initial="torch"), 0.05 / 3**0.5, 0.05, 0.05 / 3**0.5),
      (PooledHead(100, initial="small"), 2e-5, None, 0),
      (PooledHead(100), 0.05 / 3**0.5, 0.05, 0.05 / 3**0.5),
      # Xavier: b = sqrt(6 / (400 + 100)).
      (LinearHead(100), 0.012**0.5 / 3**0.5, 0.012**0.5, 0),
    ],
    ids=repr,
  )
  def test_spread(self, head, std, largest, bias_std):
    kernel, bias = self.fresh(head)
    np.testing.assert_allclose(kernel.std(), std, rtol=0.02)
    np.testing.assert_allclose(bias.std(), bias_std, rtol=0.2)
    assert abs(kernel.mean()) < std / 50
    if largest:
      assert 0.99 * largest < abs(kernel).max() <= 1.0001 * largest
      assert abs(bias).max() <= largest


def test_products_in_a_lower_precision():
  x = make_tokens().astype(np.float32)
  for head, arguments in (
    (LinearHead(4, "bfloat16"), (x,)),
    (PooledHead(4, compute_dtype="bfloat16"), (x, None)),
    (
      PooledHead(4, "attentive", compute_dtype="bfloat16", num_heads=2),
      (x, None),
    ),
  ):
    p = head.init(jax.random.key(0), x)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(p))
    assert head(p, *arguments).dtype == jnp.bfloat16


def test_logits_of_tokens_are_summed_in_float32():
  x, embedding = make_tokens().astype(np.float32), np.ones((4, WIDTH))
  head = TokenHead("bfloat16")
  p = head.init(jax.random.key(0), x, embedding)
  assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(p))
  assert head(p, x, embedding).dtype == jnp.float32


@pytest.mark.parametrize(
  ("make", "message"),
  [
    (lambda: RegressionHead(-1), "layers must be 0 or more, got -1"),
    (
      lambda: RegressionHead(initial="he"),
      "RegressionHead: unknown initial 'he'; choose one of: beit, normal, tor",
    ),
    (lambda: LinearHead(0), "LinearHead: num_outputs must be 1 or more, got 0"),
    (lambda: LinearHead(3, initial="x"), "LinearHead: unknown initial 'x'"),
    (lambda: TokenHead(initial="x"), "TokenHead: unknown initial 'x'"),
    (lambda: PooledHead(0), "PooledHead: num_outputs must be 1 or more"),
    (
      lambda: PooledHead(2, pool="max"),
      "PooledHead: unknown pool 'max'; choose one of: mean, first, attentive",
    ),
    (lambda: PooledHead(2, num_heads=0), "num_heads must be 1 or more, got 0"),
    (
      lambda: PooledHead(2, "attentive", num_heads=4).init(
        jax.random.key(0), make_tokens()
      ),
      "num_heads 4 does not divide the width 6; change config.obj",
    ),
  ],
)
def test_errors(make, message):
  with pytest.raises(ValueError, match=message):
    make()
