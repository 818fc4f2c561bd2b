"""What cuDNN is asked for; its equal in JAX stands for it, without a GPU."""

import functools

import jax
import jax.numpy as jnp
import pytest
from jax._src.cudnn import fused_attention_stablehlo

from d2v_jax.models import attend as attend_lib
from d2v_jax.models import attention_cudnn, attention_triton
from d2v_jax.models.attention_bias import AttentionBias
from tests.models.attend_test import assert_close, case, expected


@pytest.fixture
def instead_of_cudnn(monkeypatch):
  real, calls = jax.nn.dot_product_attention, []

  def attention(query, key, value, *, bias, mask, implementation, **lengths):
    calls.append((query.shape, None if bias is None else bias.dtype))
    assert implementation == "cudnn"
    # What cuDNN asks for, and JAX in front of it.
    batch, length, heads, _ = query.shape
    assert length % 2 == 0
    if bias is not None:
      assert bias.shape in [(n, heads, length, length) for n in (1, batch)]
      assert bias.dtype == query.dtype
    if mask is not None:
      assert mask.shape == (batch, 1, length, length)
    assert lengths.keys() == {"query_seq_lengths", "key_value_seq_lengths"}
    return real(
      query, key, value, bias=bias, mask=mask, implementation="xla", **lengths
    )

  monkeypatch.setattr(jax.nn, "dot_product_attention", attention)
  return calls


@pytest.mark.parametrize(
  "biases,length",
  [((), 5), (("pairs",), 5), (("padding",), 7), (("pairs",), 6)],
)
def test_values_and_gradients(biases, length, instead_of_cudnn):
  qkv, bias, gradient = case(*biases, length=length, heads=2, head=16)
  sizes = {"num_heads": 2, "dropout": 0.0}
  out = jax.jit(functools.partial(attention_cudnn.forward, **sizes))(
    qkv, bias, None
  )
  backward = jax.jit(functools.partial(attention_cudnn.backward, **sizes))
  got = out, *backward(qkv, bias, None, gradient)
  assert_close(got, expected(qkv, bias, None, gradient, 2, 0.0), 1e-5)
  assert len(instead_of_cudnn) == 2


def refusal(*biases, dtype=jnp.bfloat16, head=64, dropout=0.0, backward=True):
  qkv, bias, _ = case(*biases, length=5, heads=2, head=head, dtype=dtype)
  return attention_cudnn.refusal(
    qkv.shape,
    qkv.dtype,
    bias,
    num_heads=2,
    dropout=dropout,
    backward=backward,
  )


def test_what_it_cannot_do_has_a_reason():
  assert refusal() is refusal("pairs") is refusal("padding") is None
  assert "another dropout" in refusal(dropout=0.1)
  assert "not in float32" in refusal(dtype=jnp.float32)
  assert "up to 128, not of 160" in refusal(head=160)
  assert "examples do not share" in refusal("line")
  assert refusal("line", "padding", backward=False) is None


def test_a_gpu_without_the_library_is_said(monkeypatch):
  def missing(*args, **kwargs):
    raise RuntimeError("cuDNN is not detected.")

  monkeypatch.setattr(jax.nn, "dot_product_attention", missing)
  monkeypatch.setattr(attention_triton, "refusal", lambda *_, **__: "no Triton")
  qkv, _, _ = case(length=5, heads=2, head=64, dtype=jnp.bfloat16)
  shapes = (jax.eval_shape(lambda x: x, qkv), AttentionBias(), None)
  settings = attend_lib._Settings(2, 0.0, None)
  chosen = attend_lib._choose("cuda", "forward", settings, shapes, 1)
  assert chosen.endswith("by plain products: cuDNN is not detected; no Triton")


@pytest.mark.parametrize("batch,length", [(1, 6), (4, 6), (4, 5)])
def test_it_is_lowered_for_a_gpu_that_is_not_there(batch, length, monkeypatch):
  """cuDNN's primitives ask for the devices of the program that they are in."""
  monkeypatch.setattr(
    fused_attention_stablehlo, "check_cudnn_version", lambda: 91000
  )
  monkeypatch.setattr(
    fused_attention_stablehlo, "check_compute_capability", lambda _: True
  )
  qkv = jax.ShapeDtypeStruct((batch, length, 3 * 32), jnp.bfloat16)

  def loss(qkv):
    out = attend_lib.attend(qkv, AttentionBias(), None, num_heads=2)
    return out.astype(jnp.float32).sum()

  traced = jax.jit(jax.grad(loss)).trace(qkv)
  text = traced.lower(lowering_platforms=("cuda",)).as_text()
  assert "fmhaSoftmaxBackward" in text
