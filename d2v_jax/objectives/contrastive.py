"""Contrast: tell an example's other view from those of all other examples.

Source: MoCo v3, Chen et al. 2021, arXiv 2104.02057, algorithm 1, with the heads
of two_views.py. As a short second stage on a finished run of masked prediction
it makes features in which neighbours are alike, which is what MIM-Refiner does
(Alkin et al. 2024, arXiv 2402.10093). Ours is the simpler loss: one head on the
output instead of one on each of the later blocks, and the teacher's projection
itself as the positive, not its nearest neighbour in a queue.
"""

import dataclasses

import jax
import jax.numpy as jnp
import optax

from d2v_jax.models import checks
from d2v_jax.models.plain_norms import full_precision
from d2v_jax.objectives.objective import Metrics
from d2v_jax.objectives.two_views import TwoViews


@dataclasses.dataclass(frozen=True)
class Contrastive(TwoViews):
  """Two views of each example, told from those of the rest of the batch.

  With `config.accumulate` the rest is that of the micro-batch.

  Attributes:
    temperature: cosines are divided by it. Lower: only the most similar of the
      other examples count.
  """

  temperature: float = 0.2

  def __post_init__(self) -> None:
    checks.positive("Contrastive", temperature=self.temperature)

  def compare(self, q: jax.Array, z: jax.Array) -> tuple[jax.Array, Metrics]:
    """Cross-entropy of B choices, times 2 temperature, of both directions.

    `contrast_accuracy` is the share of predictions that are nearest to the
    projection that they are to meet, of those of the B examples.
    """
    logits = jnp.einsum("ivp,jvp->vij", q, z)  # [2, B, B]
    logits = full_precision(logits) / self.temperature
    own = jnp.arange(len(q))
    entropy = optax.softmax_cross_entropy_with_integer_labels(
      logits, jnp.broadcast_to(own, logits.shape[:2])
    )  # [2, B]
    loss = 2 * self.temperature * entropy.sum(0).mean()
    right = logits.argmax(-1) == own
    return loss, {"contrast_accuracy": right.mean(dtype=loss.dtype)}
