"""BYOL's projector and predictor, without statistics of the batch.

Source: Grill et al. 2020, arXiv 2006.07733, section 3.3, with group norm and
standardised weights in place of batch norm, as in Richemond et al. 2020, arXiv
2010.10241.
"""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from d2v_jax.config import FromRun
from d2v_jax.models import checks


class _StandardisedMlp(nn.Module):
  """Linear, GroupNorm, ReLU, linear, with standardised weights."""

  hidden: int
  num_outputs: int
  groups: int
  speed: float
  compute_dtype: DTypeLike

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    x = self._linear("fc1", x, self.hidden)  # [B, hidden]
    x = nn.GroupNorm(
      self.groups, epsilon=1e-5, use_fast_variance=False, name="norm"
    )(x)
    return self._linear("fc2", jax.nn.relu(x), self.num_outputs)

  def _linear(self, name, x, width):
    shape = (x.shape[-1], width)
    std = x.shape[-1] ** -0.5 / self.speed
    p = self.param(
      name,
      lambda key: {
        "kernel": std * jax.random.normal(key, shape),
        "scale": jnp.ones(width),
        "bias": jnp.zeros(width),
      },
    )
    # w <- scale (w - mean w) / ||w - mean w||, for the weights of each output.
    kernel = p["kernel"] - p["kernel"].mean(0)  # [C, width]
    kernel *= p["scale"] * jax.lax.rsqrt(jnp.square(kernel).sum(0) + 1e-12)
    x, kernel = (a.astype(self.compute_dtype) for a in (x, kernel))
    return x @ kernel + p["bias"]


@dataclasses.dataclass(frozen=True)
class MlpHead:
  """Linear D -> hidden, norm, ReLU, linear -> P.

  Attributes:
    hidden: width of the hidden layer.
    num_outputs: P.
    groups: of hidden channels that are normalised together.
    speed: how much faster than by default the directions of the weights change
      under Adam. (Their length has no effect but this one: they start so much
      shorter.)
    compute_dtype: dtype of the products.
  """

  hidden: int = 4096
  num_outputs: int = 256
  groups: int = 16
  speed: float = 1.0
  compute_dtype: FromRun[str] = "float32"

  def __post_init__(self) -> None:
    checks.at_least("MlpHead", 1, num_outputs=self.num_outputs)
    checks.multiple("MlpHead", ("hidden", self.hidden), groups=self.groups)
    checks.positive("MlpHead", speed=self.speed)

  def init(self, rng: jax.Array, vectors: jax.Array) -> dict[str, Any]:
    """Parameters for vectors [B, D]."""
    return self._module().init(rng, vectors)["params"]

  def __call__(self, params: dict[str, Any], vectors: jax.Array) -> jax.Array:
    """Maps vectors [B, D] to [B, P]."""
    return self._module().apply({"params": params}, vectors)

  def _module(self):
    return _StandardisedMlp(
      self.hidden,
      self.num_outputs,
      self.groups,
      self.speed,
      jnp.dtype(self.compute_dtype),
    )
