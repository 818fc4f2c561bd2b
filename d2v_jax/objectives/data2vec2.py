"""data2vec 2.0: the same prediction, of visible tokens, for many masks at once.

Source: Baevski et al. 2022, arXiv 2212.07525, section 3, and its released code.
The same file serves images, speech, signals and text.
"""

import dataclasses

import jax
import jax.numpy as jnp

from d2v_jax.models.decoder import ConvDecoder, decode_visible
from d2v_jax.models.encoder import Encoder, EncoderOutput
from d2v_jax.models.heads import LinearHead
from d2v_jax.models.pooled_head import mean_pool
from d2v_jax.objectives import ema, losses
from d2v_jax.objectives.objective import (
  Batch,
  Loss,
  Metrics,
  Objective,
  Params,
  Regressed,
  split,
)
from d2v_jax.objectives.raw_targets import check_numbers, raw_targets
from d2v_jax.objectives.targets import Targets, shared_features


@dataclasses.dataclass(frozen=True)
class Data2Vec2(Objective):
  """Regression of the teacher's averages, from visible tokens and a decoder.

  The teacher computes its targets once for an example and they serve M masks;
  the student's layers see nothing but visible tokens. What the teacher shares
  with the student (`ema.tracked`) it shares without its dropout, though the
  released code has that of the text embedding reach the teacher.

  Attributes:
    encoder: the student's network, and the teacher's.
    decoder: from visible tokens to predictions of all tokens.
    ema: which sub-trees the teacher averages, and how slowly. A teacher whose
      decay has come to 1 stays as it is.
    targets: which of the teacher's layers are averaged, and how normalised.
    loss_beta: smooth-L1 switch; 0 is squared error without the half.
    loss_scale: factor on the sum over D: 'rsqrt' (1/sqrt(D), images and
      speech), 'mean' (1/D) or a number (text: 1).
    cls_loss: weight of the loss of the CLS token, times the mean over the B * M
      rows. (The released weight, 0.01, multiplies the sum over the rows of one
      device: with its 16 images of 16 masks on each, 0.01 * 256 of ours.)
    recon_loss: weight of the regression of the raw input of hidden tokens,
      normalised as the masked autoencoder does it, from the decoder's output.
    head: what predicts that: a linear map to its P numbers.
  """

  encoder: Encoder
  decoder: ConvDecoder
  ema: ema.Ema
  targets: Targets
  loss_beta: float = 0.0
  loss_scale: str | float = "rsqrt"
  cls_loss: float = 0.0
  recon_loss: float = 0.0
  head: LinearHead | None = None

  def __post_init__(self) -> None:
    losses.check_regression("Data2Vec2", self.loss_beta, self.loss_scale)
    if not self.encoder.visible:
      raise ValueError(
        "Data2Vec2: the encoder must encode visible tokens alone; set "
        "encoder.name to visible_vit, visible_speech, visible_signal or "
        "visible_text."
      )
    for name in ("cls_loss", "recon_loss"):
      if (weight := getattr(self, name)) < 0:
        raise ValueError(f"Data2Vec2: {name} must be 0 or more, got {weight}.")
    if self.recon_loss:
      check_numbers("Data2Vec2", self.encoder)
    if (self.recon_loss > 0) != (self.head is not None):
      raise ValueError(
        f"Data2Vec2: recon_loss is {self.recon_loss} and head {self.head}; one "
        "needs the other: set both, or leave both out."
      )

  def init(self, rng: jax.Array, batch: Batch) -> Params:
    """Fresh student parameters: the encoder's sub-trees, `decoder`, `head`."""
    encoder_rng, decoder_rng = jax.random.split(rng)
    params = self.encoder.init(encoder_rng, batch)
    tokens = self.encoder(params, batch).tokens
    params = {**params, "decoder": self.decoder.init(decoder_rng, tokens)}
    if self.head is None:
      return params
    self._raw_targets(self.head, batch)  # raises where the head does not fit
    head_rng = jax.random.fold_in(decoder_rng, 1)
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
    """What is regressed: y = 1/K sum of the last K layers, once for all masks.

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

  def visible(
    self,
    params: Params,
    batch: Batch,
    rng: jax.Array | None,
    features: jax.Array | None = None,
  ) -> EncoderOutput:
    """The student sees the visible tokens of M masks: B * M rows of V."""
    if "mask" not in batch or "keep_ids" not in batch:
      raise ValueError(
        "Data2Vec2: the batch has no mask with keep_ids; set config.data.mask "
        "to one of data2vec 2.0: inverse_blocks, random_patches, frame_blocks "
        "or random_tokens."
      )
    return self.encoder(
      params, batch, keep_ids=batch["keep_ids"], rng=rng, features=features
    )

  def decoded(
    self,
    params: Params,
    visible: EncoderOutput,
    batch: Batch,
    rng: jax.Array | None,
  ) -> jax.Array:
    """What the decoder makes of visible tokens: [B * M, N, D]."""
    return decode_visible(self.decoder, params["decoder"], visible, batch, rng)

  def predictions(
    self, params: Params, batch: Batch, rng: jax.Array | None
  ) -> jax.Array:
    """Predictions of all tokens, for each mask: [B * M, N, D]."""
    encoder_rng, decoder_rng = split(rng)
    visible = self.visible(params, batch, encoder_rng)
    return self.decoded(params, visible, batch, decoder_rng)

  def loss(
    self,
    params: Params,
    teacher_params: Params,
    batch: Batch,
    rng: jax.Array | None,
  ) -> Loss:
    """Regression at hidden positions; of the CLS token and raw input, too.

    Args:
      params: the student's.
      teacher_params: the teacher's tracked sub-trees.
      batch: `inputs`, `mask` [B, M, N] bool, `keep_ids` [B, M, V] int and what
        the modality needs.
      rng: key for the student's dropout and the decoder's noise; None for none.

    Returns:
      Mean over the hidden tokens of all masks of the global batch.
    """
    encoder_rng, decoder_rng = split(rng)
    shared = shared_features(self.encoder, params, teacher_params, batch)
    visible = self.visible(params, batch, encoder_rng, shared)  # [B * M, V, D]
    f = self.decoded(params, visible, batch, decoder_rng)  # [B * M, N, D]
    y = self.teacher_targets(params, teacher_params, batch, shared)  # [B, N, D]
    # Rows are b-major: the M masks of an example follow one another.
    num_masks = batch["mask"].shape[1]
    mask = batch["mask"].reshape(f.shape[:2])  # [B * M, N]
    repeated = jnp.repeat(y, num_masks, axis=0)  # [B * M, N, D]
    error = losses.regression_loss(f, repeated, self.loss_beta).sum(-1)
    scale = losses.loss_scale(self.loss_scale, y.shape[-1])
    loss = scale * losses.masked_mean(error, mask)
    metrics = {
      "target_std": losses.masked_std(repeated, mask),
      "prediction_std": losses.masked_std(jax.lax.stop_gradient(f), mask),
      "target_position_share": losses.position_share(y, batch.get("padding")),
    }
    if self.cls_loss:
      cls = scale * self._cls_error(visible, y, batch)
      loss += self.cls_loss * cls
      metrics["cls_error"] = jax.lax.stop_gradient(cls)
    if self.head is not None:
      recon = self._recon_error(self.head, params, f, mask, batch)
      loss += self.recon_loss * recon
      metrics["recon_error"] = jax.lax.stop_gradient(recon)
    return Loss(loss, mask.sum().astype(loss.dtype), metrics)

  def _cls_error(
    self, visible: EncoderOutput, y: jax.Array, batch: Batch
  ) -> jax.Array:
    """The CLS token's output against the mean target, with no decoder."""
    if visible.cls is None:
      raise ValueError(
        "Data2Vec2: cls_loss needs an encoder with a CLS token; set "
        "encoder.cls_token=True, or cls_loss to 0."
      )
    mean = mean_pool(y, batch.get("padding"))  # [B, D]
    mean = jnp.repeat(mean, batch["mask"].shape[1], axis=0)  # [B * M, D]
    error = losses.regression_loss(visible.cls, mean, self.loss_beta)
    return error.sum(-1).mean()

  def _raw_targets(self, head: LinearHead, batch: Batch) -> jax.Array:
    """The raw input of each token, normalised: [B, N, P]."""
    return raw_targets("Data2Vec2", self.encoder, head, batch, norm=True)

  def _recon_error(
    self,
    head: LinearHead,
    params: Params,
    f: jax.Array,
    mask: jax.Array,
    batch: Batch,
  ) -> jax.Array:
    """The head of f [B * M, N, D] against the raw input of hidden tokens."""
    raw = jax.lax.stop_gradient(self._raw_targets(head, batch))  # [B, N, P]
    raw = jnp.repeat(raw, len(f) // len(raw), axis=0)  # [B * M, N, P]
    predicted = head(params["head"], f)
    error = losses.regression_loss(predicted, raw, self.loss_beta).sum(-1)
    scale = losses.loss_scale(self.loss_scale, raw.shape[-1])
    return scale * losses.masked_mean(error, mask)

  def regressed(
    self, params: Params, teacher_params: Params, batch: Batch
  ) -> Regressed:
    """See `Objective.regressed`."""
    y = self.teacher_targets(params, teacher_params, batch)  # [B, N, D]
    f = self.predictions(params, batch, None)  # [B * M, N, D]
    return Regressed(y, f, batch["mask"].reshape(f.shape[:2]))

  def update_teacher(
    self, teacher_params: Params, params: Params, step: jax.Array
  ) -> tuple[Params, Metrics]:
    """Moves the teacher after `step` updates; the decay for the log."""
    updated = self.ema.update(teacher_params, params, step)
    return updated, {"ema_decay": self.ema.decay(step)}
