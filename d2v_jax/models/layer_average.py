"""The average of the last layers' outputs, summed while the layers run."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp


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


class LayerAverage(NamedTuple):
  """1/K sum of the last K layers, so that no layer has to be kept for it.

  Attributes:
    top_k: K.
    output: of each layer, a field of `LayerOutputs`.
    normalise: (output [B, N, D], padding [B, N] or None) -> [B, N, D], in
      float32 or more, of each layer.
  """

  top_k: int
  output: str
  normalise: Callable[[jax.Array, jax.Array | None], jax.Array]

  def check(self, depth: int) -> None:
    """Raises ValueError if there are fewer than K layers."""
    if not 1 <= self.top_k <= depth:
      raise ValueError(
        f"Targets: top_k must be between 1 and the {depth} layers of the "
        f"encoder, got {self.top_k}."
      )

  def add(
    self,
    total: jax.Array,
    outputs: LayerOutputs,
    above: jax.Array,
    padding: jax.Array | None,
  ) -> jax.Array:
    """The sum with another layer in it, if that is among the last K.

    Args:
      total: [B, N, D], of the layers below.
      outputs: of this layer, [B, P + N, D] with P tokens in front that are no
        positions of the input.
      above: scalar, how many layers follow.
      padding: [B, N] bool, or None.
    """
    layer = getattr(outputs, self.output)[:, -total.shape[1] :]  # [B, N, D]
    normalised = self.normalise(layer, padding)
    return jnp.where(above < self.top_k, total + normalised, total)
