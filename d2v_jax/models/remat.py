"""What a layer keeps for the backward pass, and what it computes again."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
from jax.typing import DTypeLike

from d2v_jax.models import saved
from d2v_jax.models.layers import is_half

_policies = jax.checkpoint_policies
# none: everything is kept. dots: the outputs of linear maps and of attention,
# and of norms mean and variance, two numbers a token; norms, activations and
# dropout are computed again. full: nothing but the layer's input is kept.
POLICIES: dict[str, Callable[..., Any] | None] = {
  "none": None,
  "dots": _policies.save_only_these_names(saved.NAME),
  "full": _policies.nothing_saveable,
}


def rematerialised(module: type[nn.Module], policy: str) -> type[nn.Module]:
  """The module with a policy, a key of POLICIES, for the body of a scan."""
  if POLICIES[policy] is None:
    return module
  # prevent_cse=False is right only inside a scan, where it costs nothing.
  return nn.remat(module, prevent_cse=False, policy=POLICIES[policy])


def inputs_kept(
  function: Callable[..., jax.Array], dtype: DTypeLike
) -> Callable[..., jax.Array]:
  """A function behind a convolution, such as a norm and an activation.

  In half precision the backward pass computes it again from its inputs:
  otherwise several arrays of that size in float32 were kept.

  Args:
    function: of arrays.
    dtype: of the convolution.
  """
  return jax.checkpoint(function) if is_half(dtype) else function
