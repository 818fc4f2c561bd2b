"""Multi-head self-attention."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from d2v_jax.models.attention.attend import attend
from d2v_jax.models.attention.attention_bias import AttentionBias
from d2v_jax.models.bias import add_bias
from d2v_jax.models.initializers import Initializer, beit_init
from d2v_jax.models.linear import Linear
from d2v_jax.models.saved import saved


class SelfAttention(nn.Module):
  """Multi-head self-attention with an additive logit bias.

  BEiT has query and value biases but no key bias (`key_bias=False`): a key bias
  adds the same number to every logit of a query, so its gradient is zero.
  """

  num_heads: int
  key_bias: bool = False
  dropout: float = 0.0
  implementation: str = "auto"
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
    width = x.shape[-1]
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
    qkv = saved(add_bias(qkv, jnp.concatenate([q_bias, k_bias, v_bias])))
    # Without a key there is no dropout.
    drops = self.dropout and self.has_rng("dropout")
    mixed = attend(
      qkv,
      bias or AttentionBias(),
      self.make_rng("dropout") if drops else None,
      num_heads=self.num_heads,
      dropout=self.dropout,
      implementation=self.implementation,
    )  # [B, N, D]
    return Linear(
      width,
      self.kernel_init,
      compute_dtype=self.compute_dtype,
      name="out",
    )(saved(mixed))
