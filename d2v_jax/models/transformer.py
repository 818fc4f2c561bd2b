"""Transformer layers that return every intermediate data2vec may regress.

Dropout of any kind needs a key named 'dropout'; without one there is none.

The residual stream, norms, softmax and layer scale stay in float32 (or float64
when the inputs are); only matrix products run in `compute_dtype`. With a layer
scale of 1e-4 a bfloat16 residual stream would round each layer's update away.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

Dtype = Any
Initializer = nn.initializers.Initializer

# BEiT cuts at one sigma, so the resulting std is 0.0108, not 0.02.
# Source: released vision code; the paper does not say.
beit_init = nn.initializers.truncated_normal(0.02, lower=-1.0, upper=1.0)
# Source: BERT; the released speech and text code.
bert_init = nn.initializers.normal(0.02)
# Added to the logits of padded keys: far below any logit, and still finite, so
# that a row that is all padding has no NaN.
_PADDED = -1e9


class LayerOutputs(NamedTuple):
  """What one layer computes, each [B, N, D] (stacked over layers [L, B, N, D]).

  Attributes:
    attention: self-attention branch before dropout and the residual.
    ffn: feed-forward branch before dropout and the residual (layer-scaled if
      there is a layer scale).
    block: output of the whole layer.
  """

  attention: jax.Array
  ffn: jax.Array
  block: jax.Array


def check_rates(where: str, **rates: float) -> None:
  """Checks that rates of dropout are in [0, 1).

  Raises:
    ValueError: names the function `where` and the rate.
  """
  for name, rate in rates.items():
    if not 0 <= rate < 1:
      raise ValueError(f"{where}: {name} must be in [0, 1), got {rate}.")


def layer_norm(eps: float, name: str) -> nn.LayerNorm:
  """LayerNorm with two-pass variance, computed in the dtype of its input."""
  return nn.LayerNorm(epsilon=eps, use_fast_variance=False, name=name)


def dropout(module: nn.Module, x: jax.Array, rate: float) -> jax.Array:
  """Inverted dropout of elements, if the module runs with a key for it."""
  if not rate or not module.has_rng("dropout"):
    return x
  keep = 1.0 - rate
  kept = jax.random.bernoulli(module.make_rng("dropout"), keep, x.shape)
  return jnp.where(kept, x / keep, 0.0)


def padding_bias(padding: jax.Array | None) -> jax.Array | None:
  """Attention bias [B, 1, 1, N] that hides padded tokens [B, N]."""
  if padding is None:
    return None
  return jnp.where(padding[:, None, None, :], _PADDED, 0.0)


class Attention(nn.Module):
  """Multi-head self-attention with an additive logit bias.

  BEiT has query and value biases but no key bias (`key_bias=False`): a key bias
  adds the same number to every logit of a query, so its gradient is zero.
  """

  num_heads: int
  key_bias: bool = False
  dropout: float = 0.0
  kernel_init: Initializer = beit_init
  compute_dtype: Dtype = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array, bias: jax.Array | None) -> jax.Array:
    """Attends within each sequence.

    Args:
      x: [B, N, D].
      bias: added to the logits, broadcastable to [B, heads, N, N], or None.

    Returns:
      [B, N, D] in `compute_dtype`.
    """
    batch, length, width = x.shape
    heads = (batch, length, 3, self.num_heads, width // self.num_heads)
    zeros = nn.initializers.zeros
    q_bias = self.param("q_bias", zeros, (width,))
    v_bias = self.param("v_bias", zeros, (width,))
    if self.key_bias:
      k_bias = self.param("k_bias", zeros, (width,))
    else:
      k_bias = jnp.zeros_like(q_bias)
    qkv = nn.Dense(
      3 * width,
      use_bias=False,
      dtype=self.compute_dtype,
      kernel_init=self.kernel_init,
      name="qkv",
    )(x)
    qkv += jnp.concatenate([q_bias, k_bias, v_bias]).astype(qkv.dtype)
    # [3, B, heads, N, D / heads]: plain batched products are faster than
    # jax.nn.dot_product_attention's layout on CPU and equal elsewhere.
    query, key, value = qkv.reshape(heads).transpose(2, 0, 3, 1, 4)
    query *= (width // self.num_heads) ** -0.5
    accumulate = jnp.promote_types(qkv.dtype, jnp.float32)
    logits = jnp.einsum(
      "bhnd,bhmd->bhnm", query, key, preferred_element_type=accumulate
    )
    if bias is not None:
      logits += bias
    # The softmax is normalised after the product with the values: one pass
    # less over the [N, N] weights.
    peak = jax.lax.stop_gradient(logits.max(-1, keepdims=True))
    weights = jnp.exp(logits - peak)
    total = weights.sum(-1, keepdims=True)
    weights = dropout(self, weights, self.dropout)
    mixed = jnp.einsum(
      "bhnm,bhmd->bhnd",
      weights.astype(qkv.dtype),
      value,
      preferred_element_type=accumulate,
    )
    mixed = (mixed / total).astype(qkv.dtype)
    mixed = mixed.transpose(0, 2, 1, 3).reshape(x.shape)
    return nn.Dense(
      width,
      dtype=self.compute_dtype,
      kernel_init=self.kernel_init,
      name="out",
    )(mixed)


class Mlp(nn.Module):
  """Linear, exact GELU, linear."""

  hidden: int
  dropout: float = 0.0
  kernel_init: Initializer = beit_init
  compute_dtype: Dtype = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps [B, N, D] to [B, N, D] in `compute_dtype`."""
    dense = {"dtype": self.compute_dtype, "kernel_init": self.kernel_init}
    hidden = nn.Dense(self.hidden, name="fc1", **dense)(x)
    hidden = jax.nn.gelu(hidden, approximate=False)
    hidden = dropout(self, hidden, self.dropout)
    return nn.Dense(x.shape[-1], name="fc2", **dense)(hidden)


class Block(nn.Module):
  """One Transformer layer, pre- or post-norm.

  Pre-norm:  x <- x + DP(g1 * Attn(LN(x)));  x <- x + DP(g2 * MLP(LN(x))).
  Post-norm: x <- LN(x + DP(g1 * Attn(x)));  x <- LN(x + DP(g2 * MLP(x))).

  g1, g2 are the layer scale (absent when `layer_scale` is 0), DP drops elements
  (`dropout`) and whole branches per example (`drop_path`) during training and
  scales what it keeps. `layer_drop` skips the layer for the whole batch and
  scales nothing. `own_bias` makes the module whose output [heads, N, N] is this
  layer's own attention bias.
  """

  num_heads: int
  hidden: int
  pre_norm: bool = True
  key_bias: bool = False
  layer_scale: float = 0.0
  norm_eps: float = 1e-6
  dropout: float = 0.0
  attention_dropout: float = 0.0
  activation_dropout: float = 0.0
  drop_path: bool = False
  layer_drop: float = 0.0
  own_bias: Callable[[], nn.Module] | None = None
  kernel_init: Initializer = beit_init
  compute_dtype: Dtype = jnp.float32

  @nn.compact
  def __call__(
    self, x: jax.Array, drop_path_rate: jax.Array, bias: jax.Array | None
  ) -> tuple[jax.Array, LayerOutputs]:
    """Applies the layer.

    Args:
      x: [B, N, D] float32 (or float64).
      drop_path_rate: scalar, probability of dropping a branch of an example.
      bias: attention bias broadcastable to [B, heads, N, N], or None.

    Returns:
      ([B, N, D], LayerOutputs of [B, N, D]), in the dtype of x.
    """

    def branch(module, norm, gamma, x):
      y = module(norm(x) if self.pre_norm else x)
      y = y.astype(x.dtype)
      if self.layer_scale:
        init = nn.initializers.constant(self.layer_scale)
        y *= self.param(gamma, init, x.shape[-1:])
      if self.drop_path and self.has_rng("dropout"):
        keep = 1.0 - drop_path_rate
        kept = jax.random.bernoulli(
          self.make_rng("dropout"), keep, (x.shape[0], 1, 1)
        )
        y = jnp.where(kept, y / keep, 0.0)
      x = x + dropout(self, y, self.dropout)
      return (x if self.pre_norm else norm(x)), y

    self_attention = Attention(
      self.num_heads,
      self.key_bias,
      self.attention_dropout,
      self.kernel_init,
      self.compute_dtype,
      name="attention",
    )
    mlp = Mlp(
      self.hidden,
      self.activation_dropout,
      self.kernel_init,
      self.compute_dtype,
      name="mlp",
    )
    if self.own_bias is not None:
      own = self.own_bias()()
      bias = own if bias is None else bias + own
    skipped = x
    x, attention = branch(
      lambda y: self_attention(y, bias),
      layer_norm(self.norm_eps, "norm1"),
      "gamma_attention",
      x,
    )
    x, ffn = branch(mlp, layer_norm(self.norm_eps, "norm2"), "gamma_ffn", x)
    if self.layer_drop and self.has_rng("dropout"):
      drop = jax.random.bernoulli(self.make_rng("dropout"), self.layer_drop)
      x = jnp.where(drop, skipped, x)
    return x, LayerOutputs(attention, ffn, x)


def stacked_blocks(
  depth: int, *, remat: bool, name: str, **kwargs
) -> nn.Module:
  """`depth` layers as one scan over stacked parameters [L, ...].

  Tracing and compiling take a fraction of the unrolled time. Outputs of layers
  that nobody uses are removed by the compiler.

  Args:
    depth: number of layers L.
    remat: recompute activations in the backward pass (less memory, more time).
    name: name of the parameter sub-tree.
    **kwargs: arguments of `Block`.

  Returns:
    A module called with (x, drop_path_rates [L], bias) that returns
    (x, LayerOutputs of [L, B, N, D]).
  """
  # prevent_cse=False is right only inside a scan, where it costs nothing.
  block = nn.remat(Block, prevent_cse=False) if remat else Block
  scan = nn.scan(
    block,
    variable_axes={"params": 0},
    split_rngs={"params": True, "dropout": True},
    in_axes=(0, nn.broadcast),
    length=depth,
  )
  return scan(name=name, **kwargs)
