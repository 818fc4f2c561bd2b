"""What objectives of two views of each example share.

A student's prediction of each view meets a teacher's projection of the other.
In place of batch norm projector and predictor have group norm and standardised
weights, and the encoder its own layer norm (Richemond et al. 2020, arXiv
2010.10241: no batch statistics are needed).
"""

import abc
import dataclasses

import jax
import jax.numpy as jnp

from d2v_jax.models.encoder import Encoder
from d2v_jax.models.mlp_head import MlpHead
from d2v_jax.models.plain_norms import full_precision
from d2v_jax.models.pooled_head import mean_pool
from d2v_jax.objectives import ema, losses
from d2v_jax.objectives.objective import (
  Batch,
  Loss,
  Metrics,
  Objective,
  Params,
  split,
)


@dataclasses.dataclass(frozen=True)
class TwoViews(Objective):
  """A student, its teacher, and what is left to say: how they are compared.

  Attributes:
    encoder: the network.
    projector: the mean of the encoder's output [B, D] -> [B, P].
    predictor: the student's projection -> the teacher's. One that
      learns faster than the rest (`speed`) helps against collapse.
    ema: which of the encoder's sub-trees and `projector` the teacher averages,
      and how slowly.
  """

  encoder: Encoder
  projector: MlpHead
  predictor: MlpHead
  ema: ema.Ema

  @abc.abstractmethod
  def compare(self, q: jax.Array, z: jax.Array) -> tuple[jax.Array, Metrics]:
    """The loss, a scalar mean over the examples, and metrics of its own.

    Args:
      q: [B, 2, P] the student's predictions of each view, of the length 1.
      z: [B, 2, P] the teacher's projections that they are to meet, of the
        other view each, of the length 1; without gradient.
    """

  def init(self, rng: jax.Array, batch: Batch) -> Params:
    """Fresh parameters: the encoder's sub-trees, `projector`, `predictor`."""
    encoder_rng, projector_rng, predictor_rng = jax.random.split(rng, 3)
    params = self.encoder.init(encoder_rng, batch)
    output = self.encoder(params, batch)
    pooled = mean_pool(output.tokens, output.padding)
    projector = self.projector.init(projector_rng, pooled)
    projection = self.projector(projector, pooled)
    predictor = self.predictor.init(predictor_rng, projection)
    return {**params, "projector": projector, "predictor": predictor}

  def init_teacher(self, params: Params) -> Params:
    """The teacher starts as a copy of the student, without the predictor."""
    shared = {k: v for k, v in params.items() if k != "predictor"}
    return self.ema.init(shared)

  def project(
    self, params: Params, view: Batch, rng: jax.Array | None
  ) -> jax.Array:
    """Encoder, mean over the tokens, projector: [B, P]."""
    output = self.encoder(params, view, rng=rng)
    pooled = mean_pool(output.tokens, output.padding)  # [B, D]
    return self.projector(params["projector"], pooled)

  def loss(
    self,
    params: Params,
    teacher_params: Params,
    batch: Batch,
    rng: jax.Array | None,
  ) -> Loss:
    """Both directions: each view predicts what the teacher makes of the other.

    Args:
      params: the student's.
      teacher_params: the teacher's tracked sub-trees.
      batch: the views `inputs` and `inputs_b`, and what the modality needs;
        the second view's have names with `_b`.
      rng: key for the student's dropout; None for none.

    Returns:
      Mean over the examples of the global batch. The stds are those over the
      examples, of vectors of the length sqrt(P): 1 where they point in all
      directions, 0 where all are the same.

    Raises:
      ValueError: the batch has no second view, or has a mask.
    """
    teacher = ema.teacher(params, teacher_params)
    predicted, projected = [], []
    for view, view_rng in zip(self._views(batch), split(rng), strict=True):
      z = self.project(params, view, view_rng)  # [B, P]
      q = self.predictor(params["predictor"], z)  # [B, P]
      predicted.append(_unit(q))
      with jax.named_scope("teacher"):
        z = jax.lax.stop_gradient(self.project(teacher, view, None))
      projected.append(_unit(z))
    q = jnp.stack(predicted, 1)  # [B, 2, P]
    z = jnp.stack(projected[::-1], 1)
    loss, metrics = self.compare(q, z)
    metrics = {
      "target_std": _std(z),
      "prediction_std": _std(jax.lax.stop_gradient(q)),
      **metrics,
    }
    return Loss(loss, jnp.asarray(len(q), loss.dtype), metrics)

  def update_teacher(
    self, teacher_params: Params, params: Params, step: jax.Array
  ) -> tuple[Params, Metrics]:
    """The average after `step` completed updates, and the decay for the log."""
    updated = self.ema.update(teacher_params, params, step)
    return updated, {"ema_decay": self.ema.decay(step)}

  def _views(self, batch: Batch) -> tuple[Batch, Batch]:
    """The two views as batches of their own."""
    name = type(self).__name__
    if "inputs_b" not in batch:
      raise ValueError(
        f"{name}: the batch has no second view `inputs_b` of each example; "
        "set config.data.augment.views=2."
      )
    if "mask" in batch:
      raise ValueError(f"{name}: it hides nothing; leave config.data.mask out.")
    second = {k[:-2]: v for k, v in batch.items() if k.endswith("_b")}
    return batch, {**batch, **second}


def _unit(x: jax.Array) -> jax.Array:
  """Vectors [B, P] of the length 1."""
  x = full_precision(x)
  return x * jax.lax.rsqrt(jnp.square(x).sum(-1, keepdims=True) + 1e-12)


def _std(x: jax.Array) -> jax.Array:
  """Mean std over the examples and both views of x [B, 2, P] sqrt(P)."""
  every = jnp.ones(x.shape[:2], bool)
  return losses.masked_std(x * x.shape[-1] ** 0.5, every)
