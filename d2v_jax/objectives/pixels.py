"""pixels: predict the raw input where it is hidden. No teacher.

Source: data2vec (arXiv 2202.03555) compares itself with the prediction of
pixels. With data2vec 2.0's encoder and decoder it is the masked autoencoder of
He et al. 2021 (arXiv 2111.06377), whose decoder is a Transformer.
"""

import dataclasses

import jax
import jax.numpy as jnp

from d2v_jax.models.decoder import ConvDecoder, decode_visible
from d2v_jax.models.encoder import Encoder
from d2v_jax.models.heads import LinearHead
from d2v_jax.objectives import losses
from d2v_jax.objectives.objective import (
  Batch,
  Loss,
  Objective,
  Params,
  Regressed,
  split,
)
from d2v_jax.objectives.raw_targets import check_numbers, raw_targets


@dataclasses.dataclass(frozen=True)
class Pixels(Objective):
  """Masked regression of an image's patches, or speech's log-mel frames.

  Of a signal, of the samples themselves.

  Where the encoder sees a mask token at hidden positions, the head predicts
  from its output; where it sees the visible tokens only, a decoder comes
  between.

  Attributes:
    encoder: the network.
    head: linear map to the P numbers of a token's raw input.
    decoder: visible tokens -> all tokens, for masks that come with `keep_ids`;
      None for masks that come without.
    norm_targets: whether each token's P numbers are normalised, as the masked
      autoencoder does with a patch's.
  """

  encoder: Encoder
  head: LinearHead
  decoder: ConvDecoder | None = None
  norm_targets: bool = True

  def __post_init__(self) -> None:
    check_numbers("Pixels", self.encoder)

  def init(self, rng: jax.Array, batch: Batch) -> Params:
    """Fresh parameters: the encoder's sub-trees, `head` and `decoder`."""
    encoder_rng, head_rng, decoder_rng = jax.random.split(rng, 3)
    self.targets(batch)  # raises where the head does not fit
    params = self.encoder.init(encoder_rng, batch)
    tokens = self.encoder(params, batch).tokens
    params = {**params, "head": self.head.init(head_rng, tokens)}
    if self.decoder is None:
      return params
    return {**params, "decoder": self.decoder.init(decoder_rng, tokens)}

  def targets(self, batch: Batch) -> jax.Array:
    """The raw input of each token, [B, N, P] float32.

    Raises:
      ValueError: the head has not P outputs.
    """
    return raw_targets(
      "Pixels", self.encoder, self.head, batch, norm=self.norm_targets
    )

  def predictions(
    self, params: Params, batch: Batch, rng: jax.Array | None
  ) -> jax.Array:
    """What is predicted from the masked input.

    Returns:
      [R, N, P] for R = B masks, or R = B * M with M masks per example.

    Raises:
      ValueError: the batch has no mask, or one that needs a decoder and there
        is none, or the other way round.
    """
    if "mask" not in batch:
      raise ValueError("Pixels: the batch has no mask; set config.data.mask.")
    keep_ids = batch.get("keep_ids")
    if keep_ids is not None and self.decoder is None:
      raise ValueError(
        "Pixels: masks of this kind show the visible tokens only, so a decoder "
        "must fill in the others; set config.objective.decoder."
      )
    if keep_ids is None and self.decoder is not None:
      raise ValueError(
        "Pixels: a decoder needs masks that show the visible tokens only "
        "(keep_ids); choose such a config.data.mask or leave "
        "config.objective.decoder out."
      )
    if keep_ids is None:
      output = self.encoder(params, batch, mask=batch["mask"], rng=rng)
      return self.head(params["head"], output.tokens)
    assert self.decoder is not None  # as both errors above were not raised
    encoder_rng, decoder_rng = split(rng)
    visible = self.encoder(params, batch, keep_ids=keep_ids, rng=encoder_rng)
    tokens = decode_visible(
      self.decoder, params["decoder"], visible, batch, decoder_rng
    )  # [B * M, N, D]
    return self.head(params["head"], tokens)

  def loss(
    self,
    params: Params,
    teacher_params: Params,
    batch: Batch,
    rng: jax.Array | None,
  ) -> Loss:
    """Mean squared error at hidden positions.

    Args:
      params: the network's.
      teacher_params: {}.
      batch: `inputs`, `mask` [B, N] bool, or [B, M, N] with `keep_ids`
        [B, M, V], and what the modality needs.
      rng: key for dropout and the decoder's noise; None for neither.

    Returns:
      Mean over the P numbers of the hidden tokens of the global batch.
    """
    f = self.predictions(params, batch, rng)  # [B * M, N, P]
    y = jax.lax.stop_gradient(self.targets(batch))  # [B, N, P]
    # Rows are b-major: the M masks of an example follow one another.
    y = jnp.repeat(y, len(f) // len(y), axis=0)  # [B * M, N, P]
    mask = batch["mask"].reshape(f.shape[:2])  # [B * M, N]
    error = losses.regression_loss(f, y, beta=0.0).mean(-1)  # [B * M, N]
    loss = losses.masked_mean(error, mask)
    metrics = {
      "target_std": losses.masked_std(y, mask),
      "prediction_std": losses.masked_std(jax.lax.stop_gradient(f), mask),
    }
    return Loss(loss, mask.sum().astype(loss.dtype), metrics)

  def regressed(
    self, params: Params, teacher_params: Params, batch: Batch
  ) -> Regressed:
    """See `Objective.regressed`."""
    f = self.predictions(params, batch, None)  # [B * M, N, P]
    mask = batch["mask"].reshape(f.shape[:2])
    return Regressed(self.targets(batch), f, mask)
