"""Heads of whole examples: one vector for all tokens, then classes or score."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from d2v_jax.config import FromRun
from d2v_jax.models import checks
from d2v_jax.models.attention.attention_bias import padding_bias
from d2v_jax.models.dense_layers import INITIAL, DenseLayers
from d2v_jax.models.linear import Linear

POOLS = ("mean", "first", "attentive")


class _AttentivePool(nn.Module):
  """Attention of one learned query: softmax(q K^T / sqrt(d)) V.

  The query is learned as it meets the keys, so there is no product for it, and
  the map that follows the pool stands for the output product.
  """

  num_heads: int
  compute_dtype: DTypeLike

  @nn.compact
  def __call__(self, tokens: jax.Array, padding: jax.Array | None) -> jax.Array:
    batch, length, width = tokens.shape
    heads = (batch, length, self.num_heads, width // self.num_heads)
    if padding is not None:
      tokens = jnp.where(padding[..., None], 0, tokens)
    query = self.param("query", nn.initializers.normal(0.02), heads[2:])
    # A key bias would have no effect.
    key = self._product(width, "key", use_bias=False)(tokens).reshape(heads)
    value = self._product(width, "value")(tokens).reshape(heads)
    logits = jnp.einsum("hd,bnhd->bhn", query, key)  # [B, heads, N]
    logits *= heads[3] ** -0.5
    if padding is not None:
      logits += padding_bias(padding)[:, 0]
    pooled = jnp.einsum("bhn,bnhd->bhd", jax.nn.softmax(logits), value)
    return pooled.reshape(batch, width)  # [B, D]

  def _product(self, width, name, use_bias=True):
    # Xavier, as PyTorch's attention.
    return Linear(
      width,
      nn.initializers.xavier_uniform(),
      use_bias,
      compute_dtype=self.compute_dtype,
      name=name,
    )


@dataclasses.dataclass(frozen=True)
class PooledHead:
  """One vector per example, then Linear D -> C, or D -> D, tanh, D -> C.

  Source: the released text code, fine-tuning on GLUE, is pool='first' (its
  token <s>) with hidden=True; the released vision code is pool='mean' with
  norm=True and initial='small'.

  Attributes:
    num_outputs: C, number of classes, or 1 for a score.
    pool: 'mean' over the tokens, the 'first' token, or 'attentive': the
      attention of a learned query over the tokens; padding counts in none.
    hidden: whether there is the layer D -> D with tanh.
    compute_dtype: dtype of the products.
    initial: initial values, as for `LinearHead`, or 'small' (std 2e-5).
    norm: whether the pooled vector goes through a LayerNorm.
    norm_eps: its epsilon.
    num_heads: of the attentive pool; must divide D.
  """

  num_outputs: int
  pool: str = "mean"
  hidden: bool = False
  compute_dtype: FromRun[str] = "float32"
  initial: str = "torch"
  norm: bool = False
  norm_eps: float = 1e-6
  num_heads: int = 8

  def __post_init__(self):
    checks.at_least(
      "PooledHead", 1, num_outputs=self.num_outputs, num_heads=self.num_heads
    )
    checks.positive("PooledHead", norm_eps=self.norm_eps)
    checks.choice("PooledHead", POOLS, pool=self.pool)
    checks.choice("PooledHead", INITIAL, initial=self.initial)

  def init(self, rng: jax.Array, tokens: jax.Array) -> dict[str, Any]:
    """Parameters for tokens [B, N, D]."""
    params = self._module(tokens).init(rng, tokens[:, 0])["params"]
    if self.pool != "attentive":
      return params
    pool_rng = jax.random.fold_in(rng, 1)
    pool = self._attention(tokens).init(pool_rng, tokens, None)["params"]
    return {**params, "pool": pool}

  def __call__(
    self,
    params: dict[str, Any],
    tokens: jax.Array,
    padding: jax.Array | None,
  ) -> jax.Array:
    """Maps tokens [B, N, D], with padding [B, N] or None, to [B, C]."""
    if self.pool == "first":
      pooled = tokens[:, 0]
    elif self.pool == "attentive":
      attention = self._attention(tokens)
      pooled = attention.apply({"params": params["pool"]}, tokens, padding)
    else:
      pooled = mean_pool(tokens, padding)
    return self._module(tokens).apply({"params": params}, pooled)

  def _attention(self, tokens):
    width = tokens.shape[-1]
    if width % self.num_heads:
      raise ValueError(
        f"PooledHead: num_heads {self.num_heads} does not divide the width "
        f"{width}; change config.objective.head.num_heads."
      )
    return _AttentivePool(self.num_heads, jnp.dtype(self.compute_dtype))

  def _module(self, tokens):
    widths = (*(tokens.shape[-1],) * self.hidden, self.num_outputs)
    dtype = jnp.dtype(self.compute_dtype)
    norm_eps = self.norm_eps if self.norm else None
    return DenseLayers(widths, jnp.tanh, self.initial, dtype, norm_eps)


def mean_pool(tokens: jax.Array, padding: jax.Array | None) -> jax.Array:
  """Mean [B, D] of the tokens that are not padding, [B, N] bool or None."""
  if padding is None:
    return tokens.mean(1)
  counted = ~padding[..., None]  # [B, N, 1]
  # Examples that only fill an evaluation batch may be all padding.
  count = jnp.maximum(counted.sum(1), 1)
  return jnp.where(counted, tokens, 0).sum(1) / count
