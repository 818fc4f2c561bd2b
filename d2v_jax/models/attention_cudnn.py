"""Attention on NVIDIA's GPUs, by cuDNN."""

from typing import Any

import jax
import jax.numpy as jnp

from d2v_jax.models.attention_bias import PADDED, AttentionBias

_Gradients = tuple[jax.Array, jax.Array | None, jax.Array | None]


def refusal(
  shape: tuple[int, ...],
  dtype: Any,
  bias: AttentionBias,
  *,
  num_heads: int,
  dropout: float,
  backward: bool,
) -> str | None:
  """Why cuDNN can't compute this, in words; None if it may.

  Args:
    shape: of qkv, [B, N, 3 D].
    dtype: of qkv.
    bias: of the logits; shapes will do.
    num_heads: number of heads.
    dropout: rate for the weights; 0 where there is none. cuDNN draws them with
      a generator of its own.
    backward: whether it is for the gradients.
  """
  if dropout:
    return "cuDNN has another dropout of weights"
  if dtype not in (jnp.bfloat16, jnp.float16):
    return f"cuDNN computes in bfloat16 and float16, not in {dtype}"
  head = shape[2] // 3 // num_heads
  if head % 8 or head > 128:
    return f"cuDNN needs heads of a multiple of 8 up to 128, not of {head}"
  learned = bias.pairs is not None or bias.slopes is not None
  places = 1 if bias.coordinates is None else bias.coordinates.shape[0]
  if backward and learned and (bias.padding is not None or places > 1):
    return "cuDNN has no gradient of a bias that examples do not share"
  return None


def forward(
  qkv: jax.Array,
  bias: AttentionBias,
  keys: jax.Array | None,
  *,
  num_heads: int,
  dropout: float,
) -> jax.Array:
  """As `attention_product`, without dropout."""
  del keys, dropout
  return _attention(qkv, bias, num_heads)


def backward(
  qkv: jax.Array,
  bias: AttentionBias,
  keys: jax.Array | None,
  gradient: jax.Array,
  *,
  num_heads: int,
  dropout: float,
) -> _Gradients:
  """Gradients of `forward` in qkv, and in the bias' pairs and slopes."""
  del keys, dropout

  def attention(qkv, pairs, slopes):
    given = bias._replace(pairs=pairs, slopes=slopes)
    return _attention(qkv, given, num_heads)

  return jax.vjp(attention, qkv, bias.pairs, bias.slopes)[1](gradient)


def _attention(qkv, bias, num_heads):
  batch, length, width = qkv.shape
  heads = (num_heads, width // 3 // num_heads)
  added = bias._replace(padding=None).dense()  # [B or 1, heads, N, N]
  mask, lengths = bias.padding, None
  # JAX asks for an even number of tokens, without a bias too: the last one is
  # hidden.
  more = length % 2
  qkv = jnp.pad(qkv, ((0, 0), (0, more), (0, 0)))
  if mask is not None:
    mask = jnp.pad(mask, ((0, 0), (0, more)), constant_values=True)
    square = (batch, 1, length + more, length + more)
    mask = jnp.broadcast_to(~mask[:, None, None], square)
  if added is not None:
    added = added.reshape(-1, *added.shape[-3:])
    rows, columns = (0, more), ((0, 0), (0, 0), (0, 0), (0, more))
    added = jnp.pad(added, ((0, 0), (0, 0), rows, (0, 0)))
    added = jnp.pad(added, columns, constant_values=PADDED)
    added = added.astype(qkv.dtype)
  elif mask is None and more:
    lengths = jnp.full((batch,), length, jnp.int32)
  qkv = qkv.reshape(batch, -1, 3, *heads)
  query, key, value = (qkv[:, :, part] for part in range(3))
  out = jax.nn.dot_product_attention(
    query,
    key,
    value,
    bias=added,
    mask=mask,
    query_seq_lengths=lengths,
    key_value_seq_lengths=lengths,
    implementation="cudnn",
  )  # [B, N, heads, d]
  return out[:, :length].reshape(batch, length, width // 3)
