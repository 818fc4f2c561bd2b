"""data2vec: predict what a teacher computes from the whole input.

Source: Baevski et al. 2022, arXiv 2202.03555, section 3. The same file serves
images, speech, signals and text.
"""

import dataclasses

import jax

from d2v_jax.models.encoder import Encoder
from d2v_jax.models.heads import RegressionHead
from d2v_jax.objectives import ema, losses
from d2v_jax.objectives.objective import (
  Batch,
  Loss,
  Metrics,
  Objective,
  Params,
  Regressed,
)
from d2v_jax.objectives.targets import Targets, shared_features


@dataclasses.dataclass(frozen=True)
class Data2Vec(Objective):
  """Masked regression of the teacher's averaged top-K layer outputs.

  Attributes:
    encoder: the student's network, and the teacher's.
    head: last map of the student.
    ema: which sub-trees the teacher averages, and how slowly.
    targets: which of the teacher's layers are averaged, and how normalised.
    loss_beta: smooth-L1 switch; 0 is squared error without the half.
    loss_scale: factor on the sum over D: 'mean' (1/D, the released vision
      code), 'rsqrt' (1/sqrt(D), speech) or a number (text: 1).
  """

  encoder: Encoder
  head: RegressionHead
  ema: ema.Ema
  targets: Targets
  loss_beta: float = 2.0
  loss_scale: str | float = "mean"

  def __post_init__(self) -> None:
    losses.check_regression("Data2Vec", self.loss_beta, self.loss_scale)

  def init(self, rng: jax.Array, batch: Batch) -> Params:
    """Fresh student parameters: the encoder's sub-trees and `head`."""
    encoder_rng, head_rng = jax.random.split(rng)
    params = self.encoder.init(encoder_rng, batch)
    tokens = self.encoder(params, batch).tokens
    return {**params, "head": self.head.init(head_rng, tokens)}

  def init_teacher(self, params: Params) -> Params:
    """The teacher starts as a copy of the student's tracked sub-trees."""
    return self.ema.init(params)

  @jax.named_scope("teacher")
  def teacher_targets(
    self,
    params: Params,
    teacher_params: Params,
    batch: Batch,
    features: jax.Array | None = None,
  ) -> jax.Array:
    """What is regressed (section 3.3): y = 1/K sum of the last K layers.

    The teacher sees the whole input and has no dropout. `features` are those
    that it shares with the student, if they are known.

    Returns:
      [B, N, D] float32 without gradient.

    Raises:
      ValueError: if the encoder has fewer than K layers.
    """
    teacher = ema.teacher(params, teacher_params)
    output = self.encoder(
      teacher, batch, features=features, average=self.targets.layers
    )
    return self.targets(output)

  def predictions(
    self,
    params: Params,
    batch: Batch,
    rng: jax.Array | None,
    features: jax.Array | None = None,
  ) -> jax.Array:
    """f(x): the student sees the masked input: [B, N, D]."""
    if "mask" not in batch:
      raise ValueError("Data2Vec: the batch has no mask; set config.data.mask.")
    student = self.encoder(
      params, batch, mask=batch["mask"], rng=rng, features=features
    )
    return self.head(params["head"], student.tokens)

  def loss(
    self,
    params: Params,
    teacher_params: Params,
    batch: Batch,
    rng: jax.Array | None,
  ) -> Loss:
    """Equation 2, over masked positions only.

    Args:
      params: the student's.
      teacher_params: the teacher's tracked sub-trees.
      batch: `inputs`, `mask` [B, N] bool and what the modality needs.
      rng: key for the student's dropout; None for none.

    Returns:
      Mean over the masked tokens of the global batch.
    """
    shared = shared_features(self.encoder, params, teacher_params, batch)
    f = self.predictions(params, batch, rng, shared)  # [B, N, D]
    y = self.teacher_targets(params, teacher_params, batch, shared)  # [B, N, D]
    mask = batch["mask"]  # [B, N]
    # L(y, f(x)) = (y - f)^2 / (2 beta) where |y - f| < beta, else linear.
    error = losses.regression_loss(f, y, self.loss_beta).sum(-1)  # [B, N]
    scale = losses.loss_scale(self.loss_scale, y.shape[-1])
    loss = scale * losses.masked_mean(error, mask)
    metrics = {
      "target_std": losses.masked_std(y, mask),
      "prediction_std": losses.masked_std(jax.lax.stop_gradient(f), mask),
      "target_position_share": losses.position_share(y, batch.get("padding")),
    }
    return Loss(loss, mask.sum().astype(loss.dtype), metrics)

  def regressed(
    self, params: Params, teacher_params: Params, batch: Batch
  ) -> Regressed:
    """See `Objective.regressed`."""
    y = self.teacher_targets(params, teacher_params, batch)  # [B, N, D]
    f = self.predictions(params, batch, None)  # [B, N, D]
    return Regressed(y, f, batch["mask"])

  def update_teacher(
    self, teacher_params: Params, params: Params, step: jax.Array
  ) -> tuple[Params, Metrics]:
    """Equation 1 after `step` completed updates, and the decay for the log."""
    updated = self.ema.update(teacher_params, params, step)
    return updated, {"ema_decay": self.ema.decay(step)}
