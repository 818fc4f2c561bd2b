"""What a layer keeps for the backward pass, and what it computes again."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax

# What attention hands to its last product, under this name.
MIXED = "mixed"

_policies = jax.checkpoint_policies
# none: everything is kept. dots: the outputs of products with weights, and of
# attention; norms, activations and dropout are computed again. full: nothing
# but the layer's input is kept.
POLICIES: dict[str, Callable[..., Any] | None] = {
  "none": None,
  "dots": _policies.save_from_both_policies(
    _policies.dots_with_no_batch_dims_saveable,
    _policies.save_only_these_names(MIXED),
  ),
  "full": _policies.nothing_saveable,
}


def rematerialised(module: type[nn.Module], policy: str) -> type[nn.Module]:
  """The module with a policy, a key of POLICIES, for the body of a scan."""
  if POLICIES[policy] is None:
    return module
  # prevent_cse=False is right only inside a scan, where it costs nothing.
  return nn.remat(module, prevent_cse=False, policy=POLICIES[policy])
