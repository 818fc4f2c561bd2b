"""Attention on NVIDIA's GPUs by kernels of our own, with all that it has.

Pallas has them compiled by Triton: `triton_program` is what they do,
`triton_call` what they are given.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental.pallas import triton as plt

from d2v_jax.models.attention.attention_bias import AttentionBias
from d2v_jax.models.attention.triton_call import Call

_Gradients = tuple[jax.Array, jax.Array | None, jax.Array | None]


def refusal(
  shape: tuple[int, ...],
  dtype: Any,
  bias: AttentionBias,
  *,
  num_heads: int,
) -> str | None:
  """Why the kernels can't compute this, in words; None if they can.

  Args:
    shape: of qkv, [B, N, 3 D].
    dtype: of qkv.
    bias: of the logits; they can do all.
    num_heads: number of heads.
  """
  del bias
  head = shape[2] // 3 // num_heads
  if dtype == jnp.float32:
    return "in float32 they are faster than our kernels"
  if dtype != jnp.bfloat16:
    return f"our kernels compute in bfloat16, not in {dtype}"
  if head > 128:
    return f"our kernels have heads of up to 128, not of {head}"
  return _without_gpu()


def _without_gpu() -> str | None:
  """Why there is no GPU that they could be compiled for, in words."""
  find = getattr(plt, "get_gpu_info", None)
  if find is None:  # before JAX 0.11 Pallas takes an unknown GPU for an H100
    return None
  try:
    capability = find().compute_capability
  except ValueError:
    return "Pallas does not know the GPU"
  if capability < 80:
    return f"our kernels need a GPU of capability 80, not {capability}"
  return None


def forward(
  qkv: jax.Array,
  bias: AttentionBias,
  keys: jax.Array | None,
  *,
  num_heads: int,
  dropout: float,
  interpret: bool = False,
) -> jax.Array:
  """As `attention_product`; `interpret` runs it on any platform, slowly."""
  call = Call(qkv, bias, keys, num_heads, dropout, interpret)
  out, _ = call.forward()
  return call.unpadded(out, 1)


def backward(
  qkv: jax.Array,
  bias: AttentionBias,
  keys: jax.Array | None,
  gradient: jax.Array,
  *,
  num_heads: int,
  dropout: float,
  interpret: bool = False,
) -> _Gradients:
  """Gradients of `forward`, from that of its output [B, N, D].

  Returns:
    Of qkv, [B, N, 3 D]; of the pairs [heads, N, N] and the slopes [heads] of
    the bias, summed over the examples; None where there are none.
  """
  call = Call(qkv, bias, keys, num_heads, dropout, interpret)
  # The same call as in the forward pass: where both are in one program, the
  # compiler keeps one of them.
  out, sums = call.forward()
  inputs = call.backward_inputs(out, sums, gradient)
  d_qkv, d_slopes = call.d_queries(inputs, call.d_keys(inputs))
  return call.unpadded(d_qkv, 3), call.d_pairs(inputs), d_slopes
