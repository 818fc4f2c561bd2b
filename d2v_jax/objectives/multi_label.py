"""Learning which classes an example has, of which it may have any number."""

import dataclasses

import jax
import jax.numpy as jnp
import optax

from d2v_jax.models.plain_norms import full_precision
from d2v_jax.objectives.objective import Batch, Loss, Params
from d2v_jax.objectives.supervised import OfExamples


@dataclasses.dataclass(frozen=True)
class MultiLabel(OfExamples):
  """Any number of classes per example: a sigmoid for each class.

  Source: what AudioSet is fine-tuned with (arXiv 2104.01778), as
  by EAT (arXiv 2401.03497).
  """

  def loss(
    self,
    params: Params,
    teacher_params: Params,
    batch: Batch,
    rng: jax.Array | None,
  ) -> Loss:
    """Mean binary cross entropy of all classes of the global batch.

    Args:
      params: the network's.
      teacher_params: {}.
      batch: `inputs`, `label` [B, C] bool, `mask` [B, N] if tokens are hidden,
        and what the modality needs.
      rng: key for dropout; None for none.

    Returns:
      The mean over examples and classes. `positives` is the mean number of
      classes of an example.

    Raises:
      ValueError: labels are of another kind, or the head has not one output
        for each class.
    """
    label = self.labels_of(batch, 2, bool)  # [B, C]
    logits = full_precision(self.logits(params, batch, rng))  # [B, C]
    if logits.shape != label.shape:
      raise ValueError(
        f"MultiLabel: the head has {logits.shape[1]} outputs, but labels have "
        f"{label.shape[1]} classes; set config.objective.head.num_outputs to "
        "that."
      )
    target = label.astype(logits.dtype)
    loss = optax.sigmoid_binary_cross_entropy(logits, target).mean()
    metrics = {"positives": target.sum(1).mean()}
    return Loss(loss, jnp.asarray(len(label), loss.dtype), metrics)

  def predict(self, params: Params, batch: Batch) -> jax.Array:
    """Whether each class is likelier than not, [B, C] bool."""
    return self.scores(params, batch) > 0
