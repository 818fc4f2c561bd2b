"""data2vec 2.0: the same prediction, of visible tokens, for many masks at once.

Source: Baevski et al. 2022, arXiv 2212.07525, section 3, and its released code.
The same file serves images, speech and text.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from d2v_jax.models.decoder import ConvDecoder, decode_visible
from d2v_jax.models.encoder import Encoder, EncoderOutput
from d2v_jax.objectives import ema, losses
from d2v_jax.objectives.data2vec import Data2Vec

Params = dict[str, Any]
Batch = dict[str, jax.Array]


@dataclasses.dataclass(frozen=True)
class Data2Vec2:
  """Regression of the teacher's averages, from visible tokens and a decoder.

  The teacher computes its targets once for an example and they serve M masks;
  the student's layers see nothing but visible tokens. What the teacher shares
  with the student (`ema.tracked`) it shares without its dropout, though the
  released code has that of the text embedding reach the teacher.

  Attributes:
    encoder: the student's network, and the teacher's.
    decoder: (init, call) from visible tokens to predictions of all tokens.
    ema: which sub-trees the teacher averages, and how slowly. A teacher whose
      decay has come to 1 stays as it is.
    top_k: K, how many of the last layers the target averages.
    target: layer output that is averaged: 'block', 'ffn' or 'attention'.
    layer_norms: target norms of each layer before the average, in this order:
      any of 'batch', 'instance', 'layer'.
    average_norms: target norms after the average, in this order.
    norm_padding: padded tokens enter the statistics of batch and instance norm,
      as in the released code; else padding an example changes nothing.
    loss_beta: smooth-L1 switch; 0 is squared error without the half.
    loss_scale: factor on the sum over D: 'rsqrt' (1/sqrt(D), images and
      speech), 'mean' (1/D) or a number (text: 1).
    cls_loss: weight of the loss of the CLS token, times the mean over the B * M
      rows. (The released weight, 0.01, multiplies the sum over the rows of one
      device: with its 16 images of 16 masks on each, 0.01 * 256 of ours.)
  """

  encoder: Encoder
  decoder: ConvDecoder
  ema: ema.Ema
  top_k: int = 10
  target: str = "ffn"
  layer_norms: tuple[str, ...] = ("instance",)
  average_norms: tuple[str, ...] = ()
  norm_padding: bool = False
  loss_beta: float = 0.0
  loss_scale: str | float = "rsqrt"
  cls_loss: float = 0.0

  def __post_init__(self):
    Data2Vec.__post_init__(self)
    if not self.encoder.visible:
      raise ValueError(
        "Data2Vec2: the encoder must encode visible tokens alone; set "
        "encoder.prenet_depth, 0 or more."
      )
    if self.cls_loss < 0:
      raise ValueError(
        f"Data2Vec2: cls_loss must be 0 or more, got {self.cls_loss}."
      )

  def init(self, rng: jax.Array, batch: Batch) -> Params:
    """Fresh student parameters: the encoder's sub-trees and `decoder`."""
    encoder_rng, decoder_rng = jax.random.split(rng)
    params = self.encoder.init(encoder_rng, batch)
    tokens = self.encoder(params, batch).tokens
    return {**params, "decoder": self.decoder.init(decoder_rng, tokens)}

  # The teacher, its targets and what it shares are those of version 1.
  init_teacher = Data2Vec.init_teacher
  targets = Data2Vec.targets
  update_teacher = Data2Vec.update_teacher
  encode = Data2Vec.encode
  shared_features = Data2Vec.shared_features
  scale = Data2Vec.scale

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
    encoder_rng, decoder_rng = _split(rng)
    visible = self.visible(params, batch, encoder_rng)
    return self.decoded(params, visible, batch, decoder_rng)

  def loss(
    self,
    params: Params,
    teacher_params: Params,
    batch: Batch,
    rng: jax.Array | None,
  ) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Regression at hidden positions; for images of the CLS token, too.

    Args:
      params: the student's.
      teacher_params: the teacher's tracked sub-trees.
      batch: `inputs`, `mask` [B, M, N] bool, `keep_ids` [B, M, V] int and what
        the modality needs.
      rng: key for the student's dropout and the decoder's noise; None for none.

    Returns:
      Scalar mean over the hidden tokens of all masks of the global batch, and
      metrics. `loss_weight`, the number of hidden tokens, is the weight of this
      loss among micro-batches.
    """
    encoder_rng, decoder_rng = _split(rng)
    features = self.shared_features(params, teacher_params, batch)
    visible = self.visible(params, batch, encoder_rng, features)
    x = self.decoded(params, visible, batch, decoder_rng)
    targets = self.targets(params, teacher_params, batch, features)
    num_masks = batch["mask"].shape[1]
    y = jnp.repeat(targets, num_masks, axis=0)
    mask = batch["mask"].reshape(x.shape[:2])
    error = losses.regression_loss(x, y, self.loss_beta).sum(-1)
    scale = self.scale(y.shape[-1])
    loss = scale * losses.masked_mean(error, mask)
    metrics = {
      "target_std": losses.masked_std(y, mask),
      "prediction_std": losses.masked_std(jax.lax.stop_gradient(x), mask),
      "loss_weight": mask.sum().astype(loss.dtype),
    }
    if self.cls_loss:
      cls = scale * self._cls_error(visible, targets, num_masks)
      loss += self.cls_loss * cls
      metrics["cls_error"] = jax.lax.stop_gradient(cls)
    return loss, metrics

  def _cls_error(self, visible, targets, num_masks):
    """The CLS token's output against the mean target, with no decoder."""
    if visible.cls is None:
      raise ValueError(
        "Data2Vec2: cls_loss needs an encoder with a CLS token; set "
        "encoder.cls_token=True, or cls_loss to 0."
      )
    y = jnp.repeat(targets.mean(1), num_masks, axis=0)
    error = losses.regression_loss(visible.cls, y, self.loss_beta)
    return error.sum(-1).mean()


def _split(rng):
  return (None, None) if rng is None else jax.random.split(rng)
