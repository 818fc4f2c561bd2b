"""BYOL: predict what a teacher computes from another view of the same example.

Source: Grill et al. 2020, arXiv 2006.07733, section 3. Richemond et al. 2020,
arXiv 2010.10241, show that it needs no batch statistics: in place of batch norm
projector and predictor have group norm and standardised weights, and the
encoder its own layer norm. The optimizer is the run's, not LARS.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from d2v_jax.models.encoder import Encoder, EncoderOutput
from d2v_jax.models.heads import mean_pool
from d2v_jax.objectives import ema, losses

Params = dict[str, Any]
Batch = dict[str, jax.Array]


@dataclasses.dataclass(frozen=True)
class Byol:
  """Two views of each example; each predicts the other's projection.

  Attributes:
    encoder: the network.
    projector: (init, call) the mean of the encoder's output [B, D] -> [B, P].
    predictor: (init, call) the student's projection -> the teacher's. One that
      learns faster than the rest (`speed`) helps against collapse.
    ema: which of the encoder's sub-trees and `projector` the teacher averages,
      and how slowly; the paper's: from 0.996 to 1 over the run by a cosine.
  """

  encoder: Encoder
  projector: Any
  predictor: Any
  ema: ema.Ema

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
    """Encoder, mean over the real tokens, projector: [B, P]."""
    output = self.encoder(params, view, rng=rng)
    pooled = mean_pool(output.tokens, output.padding)
    return self.projector(params["projector"], pooled)

  def loss(
    self,
    params: Params,
    teacher_params: Params,
    batch: Batch,
    rng: jax.Array | None,
  ) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Equation 2 for both directions, between 0 and 8.

    Args:
      params: the student's.
      teacher_params: the teacher's tracked sub-trees.
      batch: the views `inputs` and `inputs_b`, and what the modality needs;
        the second view's have names with `_b`.
      rng: key for the student's dropout; None for none.

    Returns:
      Scalar mean over the global batch, and metrics. The stds are those over
      the examples, of vectors of the length sqrt(P): 1 where they point in all
      directions, 0 where all are the same. `loss_weight` is B.

    Raises:
      ValueError: the batch has no second view, or has a mask.
    """
    views = _views(batch)
    rngs = (None, None) if rng is None else jax.random.split(rng)
    teacher = ema.teacher(params, teacher_params)
    x, y = [], []
    for view, view_rng in zip(views, rngs, strict=True):
      projection = self.project(params, view, view_rng)
      x.append(_unit(self.predictor(params["predictor"], projection)))
      y.append(_unit(jax.lax.stop_gradient(self.project(teacher, view, None))))
    x, y = jnp.stack(x, 1), jnp.stack(y, 1)  # [B, 2, P]
    loss = jnp.square(x - y[:, ::-1]).sum((1, 2)).mean()
    return loss, {
      "target_std": _std(y),
      "prediction_std": _std(jax.lax.stop_gradient(x)),
      "loss_weight": jnp.asarray(len(x), loss.dtype),
    }

  def update_teacher(
    self, teacher_params: Params, params: Params, step: jax.Array
  ) -> tuple[Params, dict[str, jax.Array]]:
    """The average after `step` completed updates, and the decay for the log."""
    updated = self.ema.update(teacher_params, params, step)
    return updated, {"ema_decay": self.ema.decay(step)}

  def encode(self, params: Params, batch: Batch) -> EncoderOutput:
    """Features of the whole input, for evaluation."""
    return self.encoder(params, batch)


def _views(batch):
  """The two views as batches of their own."""
  if "inputs_b" not in batch:
    raise ValueError(
      "Byol: the batch has no second view `inputs_b` of each example; set "
      "config.data.augment.views=2."
    )
  if "mask" in batch:
    raise ValueError("Byol: it hides nothing; leave config.data.mask out.")
  second = {k[:-2]: v for k, v in batch.items() if k.endswith("_b")}
  return batch, {**batch, **second}


def _unit(x):
  x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
  return x * jax.lax.rsqrt(jnp.square(x).sum(-1, keepdims=True) + 1e-12)


def _std(x):
  every = jnp.ones(x.shape[:2], bool)
  return losses.masked_std(x * x.shape[-1] ** 0.5, every)
