"""Initial values that several networks share."""

import flax.linen as nn
import jax
import jax.numpy as jnp


def torch_uniform(fan_in: int) -> nn.initializers.Initializer:
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
