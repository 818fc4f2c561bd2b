"""How large the gradients of a run are, to see one that is far beyond them.

Whether a step changes anything is decided where it is computed, so the mean is
a part of the run's state.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class GradientNorms:
  """Norms of the gradients of the steps that were good.

  Attributes:
    count: int32 scalar, how many the mean is of.
    mean: float32 scalar.
  """

  count: jax.Array
  mean: jax.Array


@dataclasses.dataclass(frozen=True)
class GradientLimit:
  """How far a gradient's norm may be beyond those before.

  Attributes:
    ratio: to their mean.
    window: steps that the mean is of: a plain one of the first so many, and
      then one that forgets. Before there are so many, nothing is too large.
  """

  ratio: float
  window: int

  def largest(self, norms: GradientNorms) -> jax.Array:
    """The largest norm that is allowed, float32 scalar; may be infinite."""
    known = norms.count >= self.window
    return jnp.where(known, self.ratio * norms.mean, jnp.inf)

  def counted(self, norms: GradientNorms, norm: jax.Array) -> GradientNorms:
    """Counts the norm of one more step, scalar."""
    count = jnp.minimum(norms.count + 1, self.window)
    mean = norms.mean + (norm - norms.mean) / count
    return GradientNorms(count, mean.astype(norms.mean.dtype))


def none_yet() -> GradientNorms:
  """Those of a run that begins."""
  return GradientNorms(jnp.zeros((), jnp.int32), jnp.zeros((), jnp.float32))


def as_json(norms: GradientNorms | None) -> list[float] | None:
  """What a checkpoint remembers of them, to the last digit."""
  return None if norms is None else [int(norms.count), float(norms.mean)]


def of_json(found: Any) -> tuple[np.int32, np.float32]:
  """Count and mean of what `as_json` gave; of none yet for None."""
  count, mean = found or (0, 0.0)
  return np.int32(count), np.float32(mean)
