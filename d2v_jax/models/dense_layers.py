"""Linear maps with an activation between them, which heads are made of."""

from collections.abc import Callable

import flax.linen as nn
import jax
from jax.typing import DTypeLike

from d2v_jax.models.initializers import Initializer, beit_init, torch_uniform
from d2v_jax.models.layers import layer_norm
from d2v_jax.models.linear import Linear

_zeros = nn.initializers.zeros
# Name -> (inputs of each output -> initial values of weight and bias).
INITIAL: dict[str, Callable[[int], tuple[Initializer, Initializer]]] = {
  "beit": lambda fan_in: (beit_init, _zeros),
  "normal": lambda fan_in: (nn.initializers.normal(0.02), _zeros),
  "torch": lambda fan_in: (torch_uniform(fan_in), torch_uniform(fan_in)),
  "xavier": lambda fan_in: (nn.initializers.xavier_uniform(), _zeros),
  # The released vision fine-tuning: std 0.02, then times 0.001.
  "small": lambda fan_in: (nn.initializers.normal(2e-5), _zeros),
}


def dense(
  x: jax.Array, width: int, *, name: str, initial: str, compute_dtype: DTypeLike
) -> jax.Array:
  """A linear map of x [..., C] to [..., width], within a module.

  Args:
    x: [..., C].
    width: number of outputs.
    name: of its parameters.
    initial: initial values, a key of INITIAL.
    compute_dtype: dtype of the product.
  """
  kernel_init, bias_init = INITIAL[initial](x.shape[-1])
  return Linear(
    width,
    kernel_init,
    bias_init=bias_init,
    compute_dtype=compute_dtype,
    name=name,
  )(x)


class DenseLayers(nn.Module):
  """Linear maps fc1, fc2, ... with an activation between; a norm before."""

  widths: tuple[int, ...]
  activation: Callable[[jax.Array], jax.Array]
  initial: str
  compute_dtype: DTypeLike
  norm_eps: float | None = None

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps [..., C] to [..., widths[-1]]."""
    if self.norm_eps is not None:
      x = layer_norm(self.norm_eps, "norm")(x)
    for i, width in enumerate(self.widths):
      if i:
        x = self.activation(x)
      x = dense(
        x,
        width,
        name=f"fc{i + 1}",
        initial=self.initial,
        compute_dtype=self.compute_dtype,
      )
    return x
