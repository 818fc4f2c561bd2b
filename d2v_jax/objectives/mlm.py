"""Masked language modelling: which tokens are hidden? No teacher.

Source: BERT, Devlin et al. 2018 (arXiv 1810.04805), section 3.1, without the
prediction of the next sentence, as in RoBERTa, Liu et al. 2019 (arXiv
1907.11692).
"""

import dataclasses
import math

import jax
import jax.numpy as jnp

from d2v_jax.models.encoder import Encoder
from d2v_jax.models.heads import TokenHead
from d2v_jax.objectives import losses
from d2v_jax.objectives.objective import Batch, Loss, Objective, Params


@dataclasses.dataclass(frozen=True)
class Mlm(Objective):
  """Cross entropy of the tokens that a mask has selected.

  Attributes:
    encoder: the network; of text.
    head: its output and its token embedding -> logits.
    max_selected: largest share of an example's tokens that are predicted.
      Logits of no more are computed, which saves much of the work where the
      vocabulary is large. The share that the mask selects is enough.
  """

  encoder: Encoder
  head: TokenHead
  max_selected: float = 1.0

  def __post_init__(self) -> None:
    if not 0 < self.max_selected <= 1:
      raise ValueError(
        f"Mlm: max_selected must be in (0, 1], got {self.max_selected}."
      )

  def init(self, rng: jax.Array, batch: Batch) -> Params:
    """Fresh parameters: the encoder's sub-trees and `head`."""
    encoder_rng, head_rng = jax.random.split(rng)
    params = self.encoder.init(encoder_rng, batch)
    tokens = self.encoder(params, batch).tokens
    head = self.head.init(head_rng, tokens, _embedding(params))
    return {**params, "head": head}

  def loss(
    self,
    params: Params,
    teacher_params: Params,
    batch: Batch,
    rng: jax.Array | None,
  ) -> Loss:
    """Mean cross entropy of the selected tokens.

    Args:
      params: the network's.
      teacher_params: {}.
      batch: `inputs` [B, N] int, `mask` [B, N] bool, True = hidden; with masks
        that leave tokens or replace them at random, `selected` [B, N] bool,
        True for these, too, and `student_inputs` [B, N] int.
      rng: key for dropout; None for none.

    Returns:
      Mean over the selected tokens of the global batch. `accuracy` is the share
      of them whose likeliest token is right, `left_out` the share of those that
      are more than `max_selected`.

    Raises:
      ValueError: the batch has no mask, or several for each example.
    """
    selected = _selected(batch)  # [B, N]
    output = self.encoder(params, batch, mask=batch["mask"], rng=rng)
    number = math.ceil(selected.shape[1] * self.max_selected)
    # Positions of selected tokens come first, then others fill up: [B, S].
    chosen, positions = jax.lax.top_k(selected.astype(jnp.int32), number)
    chosen = chosen.astype(bool)
    tokens = jnp.take_along_axis(output.tokens, positions[..., None], 1)
    labels = jnp.take_along_axis(batch["inputs"], positions, 1)  # [B, S]
    # tokens [B, S, D] -> logits [B, S, V]
    logits = self.head(params["head"], tokens, _embedding(params))
    error = losses.cross_entropy(
      logits.reshape(-1, logits.shape[-1]), labels.reshape(-1)
    ).reshape(labels.shape)
    loss = losses.masked_mean(error, chosen)
    correct = (logits.argmax(-1) == labels).astype(loss.dtype)
    total = jnp.maximum(selected.sum(), 1)
    metrics = {
      "accuracy": losses.masked_mean(correct, chosen),
      "left_out": 1 - chosen.sum().astype(loss.dtype) / total,
    }
    return Loss(loss, chosen.sum().astype(loss.dtype), metrics)


def _embedding(params: Params) -> jax.Array:
  """The token embedding [V, D]."""
  embedding = params["feature_encoder"].get("embedding")
  if embedding is None:
    raise ValueError(
      "Mlm: the encoder has no token embedding; set config.modality='text' or "
      "choose another objective."
    )
  return embedding


def _selected(batch: Batch) -> jax.Array:
  """Which tokens are predicted, [B, N] bool."""
  if "mask" not in batch:
    raise ValueError("Mlm: the batch has no mask; set config.data.mask.")
  if batch["mask"].ndim != 2:
    raise ValueError(
      "Mlm: there must be one mask for each example, [B, N], got "
      f"{list(batch['mask'].shape)}; set config.data.mask.name='tokens'."
    )
  return batch.get("selected", batch["mask"])
