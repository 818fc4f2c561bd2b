"""Layer norm and dropout, as all networks use them."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from d2v_jax.models import hashed_dropout
from d2v_jax.models.plain_norms import full_precision
from d2v_jax.models.saved import saved


class LayerNorm(nn.Module):
  """LayerNorm (Ba et al. 2016, arXiv 1607.06450), in float32 or more.

  Its parameters are those of flax's; unlike that one it saves mean and variance
  of each token for the backward pass, see `remat`.

  Attributes:
    eps: added to the variance.
    one_pass: the variance is the mean of the squares less the square of the
      mean: half the work. Its relative error grows from that of float32 by the
      factor 1 + mean**2 / variance, so bfloat16 loses more unless a token's
      mean is a hundred standard deviations.
  """

  eps: float
  one_pass: bool = False

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Normalises x [..., D] over D; the dtype is that of x and of scale."""
    shape = x.shape[-1:]
    scale = self.param("scale", nn.initializers.ones, shape)
    bias = self.param("bias", nn.initializers.zeros, shape)
    exact = full_precision(x)
    mean = saved(exact.mean(-1))  # [...]
    centred = exact - mean[..., None]
    if self.one_pass:
      variance = jnp.square(exact).mean(-1) - jnp.square(mean)
      variance = jnp.maximum(variance, 0.0)
    else:
      variance = jnp.square(centred).mean(-1)
    variance = saved(variance)[..., None]
    y = centred * (jax.lax.rsqrt(variance + self.eps) * scale) + bias
    return y.astype(jnp.result_type(x, scale, bias))


def layer_norm(
  eps: float, name: str, dtype: DTypeLike = jnp.float32
) -> LayerNorm:
  """LayerNorm of a name.

  Args:
    eps: added to the variance.
    name: of its parameters.
    dtype: that of the products around it; if it is of half precision, the
      variance takes one pass.
  """
  return LayerNorm(eps, one_pass=is_half(dtype), name=name)


def is_half(dtype: DTypeLike) -> bool:
  """Whether a dtype has 16 bits."""
  return jnp.dtype(dtype) in (jnp.bfloat16, jnp.float16)


def gelu(x: jax.Array) -> jax.Array:
  """Exact GELU: x * Phi(x), with the normal distribution's Phi.

  Half precision is computed in float32 by erf, which compilers have as one
  operation; erfc, which float32 needs for the digits of its left tail, costs
  them two polynomials and a pass over the array more.
  """
  if not is_half(x.dtype):
    return jax.nn.gelu(x, approximate=False)
  exact = x.astype(jnp.float32)
  y = 0.5 * exact * (1.0 + jax.lax.erf(exact * 0.5**0.5))
  return y.astype(x.dtype)


def dropout(module: nn.Module, x: jax.Array, rate: float) -> jax.Array:
  """Inverted dropout of elements, if the module runs with a key for it.

  Args:
    module: whose key it takes.
    x: [B, ..., D].
    rate: probability that an element is dropped.
  """
  if not rate or not module.has_rng("dropout"):
    return x
  rng = module.make_rng("dropout")
  mask = hashed_dropout.kept_elements(rng, x.shape, rate)
  return jnp.where(mask, x / hashed_dropout.kept_share(rate), 0.0)
