"""Initial values that several networks share."""

import flax.linen as nn
import jax
import jax.numpy as jnp

Initializer = nn.initializers.Initializer

# BEiT cuts at one sigma, so the resulting std is 0.0108, not 0.02.
# Source: released vision code; the paper does not say.
beit_init = nn.initializers.truncated_normal(0.02, lower=-1.0, upper=1.0)
# Source: BERT; the released speech and text code.
bert_init = nn.initializers.normal(0.02)


def torch_uniform(fan_in: int) -> Initializer:
  """U(-1 / sqrt(fan_in), 1 / sqrt(fan_in)), PyTorch's default.

  PyTorch uses it for the weight and the bias of linear maps and convolutions,
  and the released speech code leaves some of them as they are.

  Args:
    fan_in: inputs of each output.
  """

  def init(key, shape, dtype=jnp.float32):
    bound = fan_in**-0.5
    return jax.random.uniform(key, shape, dtype, -bound, bound)

  return init
