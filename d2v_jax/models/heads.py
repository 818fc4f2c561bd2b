"""Heads of single tokens: encoder output to targets, classes, tokens."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from d2v_jax.config import FromRun
from d2v_jax.models import checks
from d2v_jax.models.dense_layers import INITIAL, DenseLayers, dense
from d2v_jax.models.layers import gelu, layer_norm


class _TiedOutput(nn.Module):
  """Linear, GELU, norm, and the token embedding as the last linear map."""

  initial: str
  compute_dtype: DTypeLike

  @nn.compact
  def __call__(self, x: jax.Array, embedding: jax.Array) -> jax.Array:
    x = dense(
      x,
      x.shape[-1],
      name="fc1",
      initial=self.initial,
      compute_dtype=self.compute_dtype,
    )  # [B, N, D]
    x = layer_norm(1e-5, "norm")(gelu(x)).astype(self.compute_dtype)
    logits = jnp.einsum(
      "bnd,vd->bnv",
      x,
      embedding.astype(x.dtype),
      preferred_element_type=jnp.promote_types(x.dtype, jnp.float32),
    )
    zeros = nn.initializers.zeros
    return logits + self.param("bias", zeros, embedding.shape[:1])  # [B, N, V]


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
    checks.at_least("RegressionHead", 0, layers=self.layers)
    checks.choice(type(self).__name__, INITIAL, initial=self.initial)

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
    return DenseLayers(
      widths, gelu, self.initial, jnp.dtype(self.compute_dtype)
    )


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
    checks.at_least("LinearHead", 1, num_outputs=self.num_outputs)
    checks.choice(type(self).__name__, INITIAL, initial=self.initial)

  def init(self, rng: jax.Array, tokens: jax.Array) -> dict[str, Any]:
    """Parameters for tokens [B, N, D]."""
    return self._module().init(rng, tokens)["params"]

  def __call__(self, params: dict[str, Any], tokens: jax.Array) -> jax.Array:
    """Maps tokens [B, N, D] to logits [B, N, V]."""
    return self._module().apply({"params": params}, tokens)

  def _module(self):
    widths = (self.num_outputs,)
    return DenseLayers(
      widths, gelu, self.initial, jnp.dtype(self.compute_dtype)
    )


@dataclasses.dataclass(frozen=True)
class TokenHead:
  """Linear D -> D, GELU, LayerNorm, then a logit for each token of a text.

  The last weights are the token embedding, so the only parameter there is the
  bias.

  Source: BERT (arXiv 1810.04805) and its released code; RoBERTa has the same.

  Attributes:
    compute_dtype: dtype of the products.
    initial: initial values, as for `LinearHead`.
  """

  compute_dtype: FromRun[str] = "float32"
  initial: str = "normal"

  def __post_init__(self):
    checks.choice(type(self).__name__, INITIAL, initial=self.initial)

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
