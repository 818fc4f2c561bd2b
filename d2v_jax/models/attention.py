"""Multi-head self-attention."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.typing import DTypeLike

from d2v_jax.models.attention_bias import AttentionBias
from d2v_jax.models.initializers import Initializer, beit_init
from d2v_jax.models.layers import dropout
from d2v_jax.models.linear import Linear
from d2v_jax.models.remat import MIXED


class Attention(nn.Module):
  """Multi-head self-attention with an additive logit bias.

  BEiT has query and value biases but no key bias (`key_bias=False`): a key bias
  adds the same number to every logit of a query, so its gradient is zero.
  """

  num_heads: int
  key_bias: bool = False
  dropout: float = 0.0
  kernel_init: Initializer = beit_init
  compute_dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, bias: AttentionBias | None) -> jax.Array:
    """Attends within each sequence: softmax(Q K^T / sqrt(d) + bias) V.

    Args:
      x: [B, N, D].
      bias: added to the logits, or None.

    Returns:
      [B, N, D] in `compute_dtype`.
    """
    batch, length, width = x.shape
    head_width = width // self.num_heads  # d
    zeros = nn.initializers.zeros
    q_bias = self.param("q_bias", zeros, (width,))
    v_bias = self.param("v_bias", zeros, (width,))
    if self.key_bias:
      k_bias = self.param("k_bias", zeros, (width,))
    else:
      k_bias = jnp.zeros_like(q_bias)
    qkv = Linear(
      3 * width,
      self.kernel_init,
      use_bias=False,
      compute_dtype=self.compute_dtype,
      name="qkv",
    )(x)  # [B, N, 3 D]
    qkv += jnp.concatenate([q_bias, k_bias, v_bias]).astype(qkv.dtype)
    heads = (batch, length, 3, self.num_heads, head_width)
    qkv = qkv.reshape(heads).transpose(2, 0, 3, 1, 4)  # [3, B, heads, N, d]
    query, key, value = qkv
    query *= head_width**-0.5
    # Sums over many products stay in float32.
    accumulate = jnp.promote_types(qkv.dtype, jnp.float32)
    logits = jnp.einsum(
      "bhnd,bhmd->bhnm", query, key, preferred_element_type=accumulate
    )  # [B, heads, N, N]
    dense = None if bias is None else bias.dense()
    if dense is not None:
      logits += dense
    # softmax(z) V = (exp(z - max z) V) / sum exp(z - max z): normalised after
    # the product with the values, one pass less over the [N, N] weights.
    peak = jax.lax.stop_gradient(logits.max(-1, keepdims=True))
    weights = jnp.exp(logits - peak)
    total = weights.sum(-1, keepdims=True)  # [B, heads, N, 1]
    weights = dropout(self, weights, self.dropout)
    mixed = jnp.einsum(
      "bhnm,bhmd->bhnd",
      weights.astype(qkv.dtype),
      value,
      preferred_element_type=accumulate,
    )
    mixed = (mixed / total).astype(qkv.dtype)  # [B, heads, N, d]
    mixed = mixed.transpose(0, 2, 1, 3).reshape(x.shape)  # [B, N, D]
    mixed = checkpoint_name(mixed, MIXED)
    return Linear(
      width,
      self.kernel_init,
      compute_dtype=self.compute_dtype,
      name="out",
    )(mixed)
