"""Last maps: encoder output to targets, characters, classes, scores, tokens."""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from d2v_jax.config import FromRun
from d2v_jax.models.attention_bias import padding_bias
from d2v_jax.models.initializers import beit_init, torch_uniform
from d2v_jax.models.layers import layer_norm

_zeros = nn.initializers.zeros
# Name -> (inputs of each output -> initial values of weight and bias).
INITIAL: dict[str, Callable[[int], tuple[Any, Any]]] = {
  "beit": lambda fan_in: (beit_init, _zeros),
  "normal": lambda fan_in: (nn.initializers.normal(0.02), _zeros),
  "torch": lambda fan_in: (torch_uniform(fan_in), torch_uniform(fan_in)),
  "xavier": lambda fan_in: (nn.initializers.xavier_uniform(), _zeros),
  # The released vision fine-tuning: std 0.02, then times 0.001.
  "small": lambda fan_in: (nn.initializers.normal(2e-5), _zeros),
}
POOLS = ("mean", "first", "attentive")


class _AttentivePool(nn.Module):
  """What one learned query finds among the tokens.

  The query is learned as it meets the keys, so it has no product of its own;
  the map that follows the pool takes the place of an output product.
  """

  num_heads: int
  compute_dtype: Any

  @nn.compact
  def __call__(self, tokens, padding):
    batch, length, width = tokens.shape
    heads = (batch, length, self.num_heads, width // self.num_heads)
    if padding is not None:
      tokens = jnp.where(padding[..., None], 0, tokens)
    query = self.param("query", nn.initializers.normal(0.02), heads[2:])
    # Xavier, as PyTorch's attention. A key bias would have no effect.
    dense = {
      "dtype": self.compute_dtype,
      "kernel_init": nn.initializers.xavier_uniform(),
    }
    key = nn.Dense(width, use_bias=False, name="key", **dense)(tokens)
    value = nn.Dense(width, name="value", **dense)(tokens).reshape(heads)
    logits = jnp.einsum("hd,bnhd->bhn", query, key.reshape(heads))
    logits *= heads[3] ** -0.5
    if padding is not None:
      logits += padding_bias(padding)[:, 0]
    pooled = jnp.einsum("bhn,bnhd->bhd", jax.nn.softmax(logits), value)
    return pooled.reshape(batch, width)


def _dense(module, x, width, name):
  kernel_init, bias_init = INITIAL[module.initial](x.shape[-1])
  return nn.Dense(
    width,
    dtype=module.compute_dtype,
    kernel_init=kernel_init,
    bias_init=bias_init,
    name=name,
  )(x)


class _Mlp(nn.Module):
  """Linear maps fc1, fc2, ... with an activation between; a norm before."""

  widths: tuple[int, ...]
  activation: Callable[[jax.Array], jax.Array]
  initial: str
  compute_dtype: Any
  norm_eps: float | None = None

  @nn.compact
  def __call__(self, x):
    if self.norm_eps is not None:
      x = layer_norm(self.norm_eps, "norm")(x)
    for i, width in enumerate(self.widths):
      if i:
        x = self.activation(x)
      x = _dense(self, x, width, f"fc{i + 1}")
    return x


class _TiedOutput(nn.Module):
  """Linear, GELU, norm, and the token embedding as the last linear map."""

  initial: str
  compute_dtype: Any

  @nn.compact
  def __call__(self, x, embedding):
    x = _gelu(_dense(self, x, x.shape[-1], "fc1"))
    x = layer_norm(1e-5, "norm")(x).astype(self.compute_dtype)
    logits = jnp.einsum(
      "bnd,vd->bnv",
      x,
      embedding.astype(x.dtype),
      preferred_element_type=jnp.promote_types(x.dtype, jnp.float32),
    )
    return logits + self.param("bias", _zeros, embedding.shape[:1])


@dataclasses.dataclass(frozen=True)
class RegressionHead:
  """Linear D -> D, or D -> 2D -> ... -> D with GELU between, or nothing.

  Source: one layer in the released vision and speech code, two in the text
  code (hidden width 2D); none in fairseq's vision port.

  Attributes:
    layers: number of linear maps; 0 leaves the encoder's output as it is.
    initial: initial values: 'beit' (truncated normal; vision), 'torch'
      (uniform, biases too; speech) or 'normal' (std 0.02; text).
    compute_dtype: dtype of the products.
  """

  layers: int = 1
  compute_dtype: FromRun[str] = "float32"
  initial: str = "beit"

  def __post_init__(self):
    if self.layers < 0:
      raise ValueError(
        f"RegressionHead: layers must be 0 or more, got {self.layers}."
      )
    _check_choice(self, "initial", INITIAL)

  def init(self, rng: jax.Array, tokens: jax.Array) -> dict[str, Any]:
    """Parameters for tokens [B, N, D]; {} when there are no layers."""
    if not self.layers:
      return {}
    return self._module(tokens).init(rng, tokens)["params"]

  def __call__(self, params: dict[str, Any], tokens: jax.Array) -> jax.Array:
    """Maps tokens [B, N, D] to predictions [B, N, D]."""
    if not self.layers:
      return tokens
    return self._module(tokens).apply({"params": params}, tokens)

  def _module(self, tokens):
    width = tokens.shape[-1]
    widths = (*(2 * width,) * (self.layers - 1), width)
    return _Mlp(widths, _gelu, self.initial, jnp.dtype(self.compute_dtype))


@dataclasses.dataclass(frozen=True)
class LinearHead:
  """Linear D -> V on every token, for CTC and for raw inputs.

  Source: released speech code, fine-tuning: Xavier uniform weight, bias 0. So
  is the last map of the masked autoencoder (arXiv 2111.06377).

  Attributes:
    num_outputs: V; for characters their number and one more, for the blank.
    compute_dtype: dtype of the products.
    initial: initial values, as for `RegressionHead`, or 'xavier'.
  """

  num_outputs: int
  compute_dtype: FromRun[str] = "float32"
  initial: str = "xavier"

  def __post_init__(self):
    _check_outputs(self)
    _check_choice(self, "initial", INITIAL)

  def init(self, rng: jax.Array, tokens: jax.Array) -> dict[str, Any]:
    """Parameters for tokens [B, N, D]."""
    return self._module().init(rng, tokens)["params"]

  def __call__(self, params: dict[str, Any], tokens: jax.Array) -> jax.Array:
    """Maps tokens [B, N, D] to logits [B, N, V]."""
    return self._module().apply({"params": params}, tokens)

  def _module(self):
    widths = (self.num_outputs,)
    return _Mlp(widths, _gelu, self.initial, jnp.dtype(self.compute_dtype))


@dataclasses.dataclass(frozen=True)
class PooledHead:
  """One vector per example, then Linear D -> C, or D -> D, tanh, D -> C.

  Source: the released text code, fine-tuning on GLUE, is pool='first' (its
  token <s>) with hidden=True; the released vision code is pool='mean' with
  norm=True and initial='small'.

  Attributes:
    num_outputs: C, number of classes, or 1 for a score.
    pool: 'mean' over the real tokens, the 'first' token, or 'attentive': the
      attention of a learned query over the real tokens.
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
    _check_outputs(self)
    _check_choice(self, "pool", POOLS)
    _check_choice(self, "initial", INITIAL)
    if self.num_heads < 1:
      raise ValueError(
        f"PooledHead: num_heads must be 1 or more, got {self.num_heads}."
      )

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
    return _Mlp(widths, jnp.tanh, self.initial, dtype, norm_eps)


@dataclasses.dataclass(frozen=True)
class TokenHead:
  """Linear D -> D, GELU, LayerNorm, then a logit for each token of a text.

  The last weights are the token embedding, so the only parameter of its own
  there is the bias.

  Source: BERT (arXiv 1810.04805) and its released code; RoBERTa has the same.

  Attributes:
    compute_dtype: dtype of the products.
    initial: initial values, as for `LinearHead`.
  """

  compute_dtype: FromRun[str] = "float32"
  initial: str = "normal"

  def __post_init__(self):
    _check_choice(self, "initial", INITIAL)

  def init(
    self, rng: jax.Array, tokens: jax.Array, embedding: jax.Array
  ) -> dict[str, Any]:
    """Parameters for tokens [B, N, D] and an embedding [V, D]."""
    return self._module().init(rng, tokens, embedding)["params"]

  def __call__(
    self, params: dict[str, Any], tokens: jax.Array, embedding: jax.Array
  ) -> jax.Array:
    """Maps tokens [B, N, D], by the embedding [V, D], to logits [B, N, V]."""
    return self._module().apply({"params": params}, tokens, embedding)

  def _module(self):
    return _TiedOutput(self.initial, jnp.dtype(self.compute_dtype))


def mean_pool(tokens: jax.Array, padding: jax.Array | None) -> jax.Array:
  """Mean [B, D] of the real tokens; padding is [B, N] bool, or None."""
  if padding is None:
    return tokens.mean(1)
  real = ~padding[..., None]
  # Rows that fill an evaluation batch may have no real token.
  count = jnp.maximum(real.sum(1), 1)
  return jnp.where(real, tokens, 0).sum(1) / count


def _gelu(x):
  return jax.nn.gelu(x, approximate=False)


def _check_outputs(head):
  if head.num_outputs < 1:
    raise ValueError(
      f"{type(head).__name__}: num_outputs must be 1 or more, got "
      f"{head.num_outputs}."
    )


def _check_choice(head, name, choices):
  value = getattr(head, name)
  if value not in choices:
    raise ValueError(
      f"{type(head).__name__}: unknown {name} {value!r}; choose one of: "
      f"{', '.join(choices)}."
    )
