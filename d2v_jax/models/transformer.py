"""Transformer layers that return every intermediate data2vec may regress.

Dropout of any kind needs a key named 'dropout'; without one there is none.

The residual stream, norms, softmax and layer scale stay in float32 (or float64
when the inputs are); only matrix products run in `compute_dtype`. With a layer
scale of 1e-4 a bfloat16 residual stream would round each layer's update away.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from d2v_jax.models import checks
from d2v_jax.models.attention.attend import IMPLEMENTATIONS
from d2v_jax.models.attention.attention_bias import AttentionBias
from d2v_jax.models.hardware import placement
from d2v_jax.models.initializers import Initializer, beit_init
from d2v_jax.models.layer_average import LayerAverage, LayerOutputs
from d2v_jax.models.layers import dropout, gelu, layer_norm
from d2v_jax.models.linear import Linear
from d2v_jax.models.remat import POLICIES, rematerialised
from d2v_jax.models.self_attention import SelfAttention


class Mlp(nn.Module):
  """Linear, exact GELU, linear."""

  hidden: int
  dropout: float = 0.0
  kernel_init: Initializer = beit_init
  compute_dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps [B, N, D] to [B, N, D] in `compute_dtype`."""
    hidden = self._dense(self.hidden, "fc1")(x)  # [B, N, hidden]
    hidden = dropout(self, gelu(hidden), self.dropout)
    return self._dense(x.shape[-1], "fc2")(hidden)

  def _dense(self, width, name):
    return Linear(
      width, self.kernel_init, compute_dtype=self.compute_dtype, name=name
    )


class Block(nn.Module):
  """One Transformer layer, pre- or post-norm.

  Pre-norm:  x <- x + DP(g1 * Attn(LN(x)));  x <- x + DP(g2 * MLP(LN(x))).
  Post-norm: x <- LN(x + DP(g1 * Attn(x)));  x <- LN(x + DP(g2 * MLP(x))).

  g1, g2 are the layer scale (absent when `layer_scale` is 0), DP drops elements
  (`dropout`) and whole branches per example (`drop_path`) during training and
  scales what it keeps. `layer_drop` skips the layer for the whole batch and
  scales nothing. `layer_bias` makes the module whose output [heads, N, N] is
  added to the attention bias in this layer alone; `attention` is how attention
  is computed.
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
  layer_bias: Callable[[], nn.Module] | None = None
  average: LayerAverage | None = None
  attention: str = "auto"
  kernel_init: Initializer = beit_init
  compute_dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self,
    carry: tuple[jax.Array, jax.Array | None],
    drop_path_rate: jax.Array,
    above: jax.Array,
    bias: AttentionBias | None,
    padding: jax.Array | None,
  ) -> tuple[tuple[jax.Array, jax.Array | None], LayerOutputs]:
    """Applies the layer.

    Args:
      carry: x [B, N, D] float32 (or float64), and the sum of `average` over the
        layers below, or None.
      drop_path_rate: scalar, probability of dropping a branch of an example.
      above: scalar, how many layers follow.
      bias: of the logits of attention, or None.
      padding: of the tokens that are averaged, or None.

    Returns:
      The carry, and LayerOutputs of [B, N, D], in the dtype of x.
    """
    x, total = carry

    x = placement.by_example(x)

    def branch(module, norm, gamma, x):
      y = module(norm(x) if self.pre_norm else x)
      y = y.astype(x.dtype)  # [B, N, D]
      if self.layer_scale:
        init = nn.initializers.constant(self.layer_scale)
        y *= self.param(gamma, init, x.shape[-1:])
      y = self._drop_path(y, drop_path_rate)
      x = x + dropout(self, y, self.dropout)
      return (x if self.pre_norm else norm(x)), y

    self_attention = SelfAttention(
      self.num_heads,
      self.key_bias,
      self.attention_dropout,
      self.attention,
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
    if self.layer_bias is not None:
      layer_bias = self.layer_bias()()  # [heads, N, N]
      bias = (bias or AttentionBias()).plus_pairs(layer_bias)
    skipped = x
    x, attention = branch(
      lambda y: self_attention(y, bias),
      layer_norm(self.norm_eps, "norm1", self.compute_dtype),
      "gamma_attention",
      x,
    )
    x, ffn = branch(
      mlp,
      layer_norm(self.norm_eps, "norm2", self.compute_dtype),
      "gamma_ffn",
      x,
    )
    if self.layer_drop and self.has_rng("dropout"):
      drop = jax.random.bernoulli(self.make_rng("dropout"), self.layer_drop)
      x = jnp.where(drop, skipped, x)
    outputs = LayerOutputs(attention, ffn, x)
    if self.average is not None and total is not None:
      total = self.average.add(total, outputs, above, padding)
    return (x, total), outputs

  def _drop_path(self, y, rate):
    """Zeroes the branch y [B, N, D] of some examples, and scales the others."""
    if not self.drop_path or not self.has_rng("dropout"):
      return y
    keep = 1.0 - rate
    kept = jax.random.bernoulli(
      self.make_rng("dropout"), keep, (y.shape[0], 1, 1)
    )
    return jnp.where(kept, y / keep, 0.0)


def run_layers(
  x: jax.Array,
  drop_path_rates: jax.Array | np.ndarray,
  bias: AttentionBias | None,
  *,
  remat: str,
  name: str,
  average: LayerAverage | None = None,
  prefix: int = 0,
  padding: jax.Array | None = None,
  **kwargs: Any,
) -> tuple[jax.Array, LayerOutputs, jax.Array | None]:
  """Layers as one scan over stacked parameters [L, ...], within a module.

  Tracing and compiling take a fraction of the unrolled time. Outputs of layers
  that nobody uses are removed by the compiler.

  Args:
    x: [B, N, D].
    drop_path_rates: [L], one for each layer.
    bias: of the logits of attention, or None.
    remat: what is computed again in the backward pass, see `check_layers`.
    name: name of the parameter sub-tree.
    average: of the last layers, if it is wanted.
    prefix: P, tokens in front that are not averaged.
    padding: [B, N - P] bool, True where no statistic of the average counts a
      token, or None.
    **kwargs: arguments of `Block`.

  Returns:
    x, LayerOutputs of [L, B, N, D], and the average [B, N - P, D] or None.

  Raises:
    ValueError: there are fewer layers than are averaged.
  """
  depth, total = len(drop_path_rates), None
  if average is not None:
    average.check(depth)
    total = jnp.zeros_like(x[:, prefix:])
  scan = nn.scan(
    rematerialised(Block, remat),
    variable_axes={"params": 0},
    split_rngs={"params": True, "dropout": True},
    in_axes=(0, 0, nn.broadcast, nn.broadcast),
    length=depth,
  )
  (x, total), layers = scan(name=name, average=average, **kwargs)(
    (x, total), drop_path_rates, jnp.arange(depth)[::-1], bias, padding
  )
  if average is not None and total is not None:
    total /= average.top_k
  return x, layers, total


def check_layers(
  where: str,
  *,
  width: int,
  depth: int,
  num_heads: int,
  mlp_ratio: float,
  norm_eps: float,
  attention: str,
  remat: str,
  **rates: float,
) -> None:
  """Checks the arguments that the layers of all networks have.

  Args:
    where: the constructor, for errors.
    width: D.
    depth: L.
    num_heads: attention heads; must divide the width.
    mlp_ratio: hidden width of the feed-forward part over D.
    norm_eps: epsilon of the norms.
    attention: how attention is computed.
    remat: what the backward pass computes again: 'none', 'dots' (all but
      products and attention) or 'full' (all of each layer).
    **rates: of dropout of any kind.

  Raises:
    ValueError: names the constructor, the argument and its value.
  """
  checks.at_least(where, 1, width=width, depth=depth, num_heads=num_heads)
  checks.multiple(where, ("width", width), num_heads=num_heads)
  checks.positive(where, mlp_ratio=mlp_ratio, norm_eps=norm_eps)
  checks.at_least(where, 1, **{"width * mlp_ratio": int(width * mlp_ratio)})
  checks.choice(where, IMPLEMENTATIONS, attention=attention)
  checks.choice(where, POLICIES, remat=remat)
  checks.rates(where, **rates)
