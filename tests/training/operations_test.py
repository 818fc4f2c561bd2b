import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.experimental import pallas as pl

from d2v_jax.models.attention.attend import attend
from d2v_jax.models.attention.attention_bias import AttentionBias
from d2v_jax.training.operations import count, count_traced


def of(*shape):
  return jax.ShapeDtypeStruct(shape, jnp.float32)


def conv(x, kernel, stride=1, groups=1, padding="SAME"):
  return lax.conv_general_dilated(
    x,
    kernel,
    (stride,),
    padding,
    dimension_numbers=("NWC", "WIO", "NWC"),
    feature_group_count=groups,
  )


def gradient(function):
  return jax.value_and_grad(lambda *args: function(*args).sum(), (0, 1))


def test_matrix_product():
  assert count(jnp.matmul, of(3, 4), of(4, 5)) == 2 * 3 * 4 * 5


def test_a_function_that_is_traced_already():
  traced = jax.jit(jnp.matmul).trace(of(3, 4), of(4, 5))
  assert count_traced(traced.jaxpr) == 2 * 3 * 4 * 5


def test_batched_product():
  product = jax.jit(lambda q, k: jnp.einsum("bnhd,bmhd->bhnm", q, k))
  # 2 examples, 3 heads: 5 x 7 products of vectors of 11.
  n = count(product, of(2, 5, 3, 11), of(2, 7, 3, 11))
  assert n == 2 * 2 * 3 * 5 * 7 * 11


def test_what_is_no_product_is_free():
  assert count(lambda x: jnp.exp(x).sum() + x.mean(), of(8, 8)) == 0


def test_what_no_result_needs_is_free():
  def wasteful(x, w):
    return x @ w, jax.jit(lambda: (w @ w, w @ w))()[0]

  assert count(lambda x, w: wasteful(x, w)[0], of(3, 4), of(4, 4)) == 96
  assert count(wasteful, of(3, 4), of(4, 4)) == 96 + 128


def test_arrays_count_as_their_shapes():
  x = np.ones((3, 4), np.float32)
  assert count(jnp.dot, x, x.T) == 2 * 3 * 4 * 3


def test_each_round_of_a_loop():
  def power(x, w):
    return lax.scan(lambda x, _: (x @ w, None), x, length=6)[0]

  assert count(power, of(3, 4), of(4, 4)) == 6 * 2 * 3 * 4 * 4


def test_an_unknown_number_of_rounds_is_one():
  def until(x, w):
    return lax.while_loop(lambda x: (x < 9).all(), lambda x: x @ w, x)

  assert count(until, of(3, 4), of(4, 4)) == 2 * 3 * 4 * 4


def test_each_block_of_a_kernel():
  def kernel(x, w, out):
    out[...] = x[...] @ w[...]

  blocks = pl.pallas_call(
    kernel,
    out_shape=of(8, 5),
    grid=(2,),
    in_specs=[
      pl.BlockSpec((4, 3), lambda i: (i, 0)),
      pl.BlockSpec((3, 5), lambda i: (0, 0)),
    ],
    out_specs=pl.BlockSpec((4, 5), lambda i: (i, 0)),
  )
  assert count(blocks, of(8, 3), of(3, 5)) == 2 * 8 * 3 * 5


def test_the_largest_branch():
  def either(x, w):
    return lax.cond(x.sum() > 0, lambda: x @ w @ w, lambda: x @ w)

  assert count(either, of(3, 4), of(4, 4)) == 2 * 2 * 3 * 4 * 4


def test_convolution():
  # 2 x 6 outputs of 5 channels, each of 5 x 3 values: (21 - 5) // 3 + 1 = 6.
  n = count(
    lambda x, k: conv(x, k, stride=3, padding="VALID"),
    of(2, 21, 3),
    of(5, 3, 5),
  )
  assert n == 2 * 2 * 6 * 5 * 5 * 3


def test_grouped_convolution():
  # 2 x 10 outputs of 12 channels, each of 3 x 8 / 4 values.
  args = of(2, 10, 8), of(3, 2, 12)
  n = count(lambda x, k: conv(x, k, groups=4), *args)
  assert n == 2 * 2 * 10 * 12 * 3 * 2


@pytest.mark.parametrize(
  ("function", "shapes"),
  [
    (jnp.matmul, ((3, 4), (4, 5))),
    (conv, ((2, 10, 8), (3, 8, 12))),
    (lambda x, k: conv(x, k, groups=4), ((2, 10, 8), (3, 2, 12))),
    # Each place is seen once, so that there are no boundaries.
    (
      lambda x, k: conv(x, k, stride=3, padding="VALID"),
      ((2, 21, 3), (3, 3, 5)),
    ),
  ],
)
def test_a_gradient_is_twice_the_function(function, shapes):
  args = [of(*shape) for shape in shapes]
  assert count(gradient(function), *args) == 3 * count(function, *args)


def test_a_strided_gradient_counts_no_inserted_zeros():
  args = of(2, 21, 3), of(5, 3, 5)

  def strided(x, kernel):
    return conv(x, kernel, stride=3, padding="VALID")

  forward = count(strided, *args)
  n = count(gradient(strided), *args)
  # By x it has 21 places of 5 / 3 values, where forward has 6 of 5: boundary
  # zeros are counted. With inserted ones it would have three times as many.
  assert 3 * forward <= n <= forward * (2 + 21 / (3 * 6)) * (1 + 1e-12)


def test_recomputed_values_count_once():
  def layer(x, w):
    return jnp.sin(x @ w)

  args = of(3, 4), of(4, 4)
  once = count(jnp.matmul, *args)
  assert count(gradient(layer), *args) == 3 * once
  assert count(gradient(jax.checkpoint(layer)), *args) == 3 * once


@pytest.mark.parametrize("implementation", ["plain", "auto"])
def test_weights_of_attention_count_once(implementation):
  def attention(qkv):
    return attend(
      qkv,
      AttentionBias(),
      None,
      num_heads=2,
      implementation=implementation,
    )

  # Logits and values: two products of [5, d] and [d, 5] for each of two heads.
  once = 3 * 2 * 2 * 2 * 5 * 5 * 4
  assert count(attention, of(3, 5, 24)) == once
  value_and_grad = jax.value_and_grad(lambda x: attention(x).sum())
  assert count(value_and_grad, of(3, 5, 24)) == 3 * once
