"""BYOL: predict what a teacher computes from another view of the same example.

Source: Grill et al. 2020, arXiv 2006.07733, section 3, without statistics of
the batch (two_views.py). The optimizer is the run's, not LARS. The paper's
teacher goes from 0.996 to 1 over the run by a cosine.
"""

import dataclasses

import jax
import jax.numpy as jnp

from d2v_jax.objectives.objective import Metrics
from d2v_jax.objectives.two_views import TwoViews


@dataclasses.dataclass(frozen=True)
class Byol(TwoViews):
  """Two views of each example; each predicts the other's projection."""

  def compare(self, q: jax.Array, z: jax.Array) -> tuple[jax.Array, Metrics]:
    """Equation 2 for both directions, ||q - z||^2, between 0 and 8."""
    return jnp.square(q - z).sum((1, 2)).mean(), {}
