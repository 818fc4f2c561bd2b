"""The student's last map: from encoder output to predicted targets."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from d2v_jax.models.transformer import beit_init


class _Regression(nn.Module):
  layers: int
  compute_dtype: Any

  @nn.compact
  def __call__(self, x):
    width = x.shape[-1]
    dense = {"dtype": self.compute_dtype, "kernel_init": beit_init}
    for i in range(self.layers - 1):
      x = nn.Dense(2 * width, name=f"fc{i + 1}", **dense)(x)
      x = jax.nn.gelu(x, approximate=False)
    return nn.Dense(width, name=f"fc{self.layers}", **dense)(x)


@dataclasses.dataclass(frozen=True)
class RegressionHead:
  """Linear D -> D, or D -> 2D -> ... -> D with GELU between, or nothing.

  Source: one layer in the released vision and speech code, two in the text
  code (hidden width 2D); none in fairseq's vision port.

  Attributes:
    layers: number of linear maps; 0 leaves the encoder's output as it is.
    compute_dtype: dtype of the products.
  """

  layers: int = 1
  compute_dtype: str = "float32"

  def __post_init__(self):
    if self.layers < 0:
      raise ValueError(
        f"RegressionHead: layers must be 0 or more, got {self.layers}."
      )

  def init(self, rng: jax.Array, tokens: jax.Array) -> dict[str, Any]:
    """Parameters for tokens [B, N, D]; {} when there are no layers."""
    if not self.layers:
      return {}
    return self._module().init(rng, tokens)["params"]

  def __call__(self, params: dict[str, Any], tokens: jax.Array) -> jax.Array:
    """Maps tokens [B, N, D] to predictions [B, N, D]."""
    if not self.layers:
      return tokens
    return self._module().apply({"params": params}, tokens)

  def _module(self) -> _Regression:
    return _Regression(self.layers, jnp.dtype(self.compute_dtype))
