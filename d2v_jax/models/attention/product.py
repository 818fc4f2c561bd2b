"""Attention as the products that its definition has, on every platform."""

import jax
import jax.numpy as jnp

from d2v_jax.models import hashed_dropout
from d2v_jax.models.attention.attention_bias import AttentionBias


def attention_product(
  qkv: jax.Array,
  bias: AttentionBias,
  keys: jax.Array | None,
  *,
  num_heads: int,
  dropout: float,
) -> jax.Array:
  """Softmax(Q K^T / sqrt(d) + bias) V of each head, dropping out weights.

  Args:
    qkv: [B, N, 3 D]: queries, keys and values, each head by head.
    bias: of the logits.
    keys: [B, pairs of heads, 2] int32 of the dropout, or None for none.
    num_heads: number of heads.
    dropout: its rate.

  Returns:
    [B, N, D] in the dtype of qkv.
  """
  batch, length, width = qkv.shape
  head_width = width // (3 * num_heads)  # d
  heads = (batch, length, 3, num_heads, head_width)
  qkv = qkv.reshape(heads).transpose(2, 0, 3, 1, 4)  # [3, B, heads, N, d]
  query, key, value = qkv
  query *= head_width**-0.5
  # Sums over many products stay in float32.
  accumulate = jnp.promote_types(qkv.dtype, jnp.float32)
  logits = jnp.einsum(
    "bhnd,bhmd->bhnm", query, key, preferred_element_type=accumulate
  )  # [B, heads, N, N]
  dense = bias.dense()
  if dense is not None:
    logits += dense
  # softmax(z) V = (exp(z - max z) V) / sum exp(z - max z): normalised after
  # the product with the values, one pass less over the [N, N] weights.
  peak = jax.lax.stop_gradient(logits.max(-1, keepdims=True))
  weights = jnp.exp(logits - peak)
  total = weights.sum(-1, keepdims=True)  # [B, heads, N, 1]
  if keys is not None:
    mask = hashed_dropout.kept_weights(keys, num_heads, length, dropout)
    weights = jnp.where(mask, weights, 0.0)
    total *= hashed_dropout.kept_share(dropout)
  mixed = jnp.einsum(
    "bhnm,bhmd->bhnd",
    weights.astype(qkv.dtype),
    value,
    preferred_element_type=accumulate,
  )
  mixed = (mixed / total).astype(qkv.dtype)  # [B, heads, N, d]
  return mixed.transpose(0, 2, 1, 3).reshape(batch, length, width // 3)
