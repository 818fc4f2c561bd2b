"""pixels: predict the raw input where it is hidden. No teacher.

Source: data2vec (arXiv 2202.03555) compares itself with the prediction of
pixels. With data2vec 2.0's encoder and decoder it is the masked autoencoder of
He et al. 2021 (arXiv 2111.06377), whose decoder is a Transformer.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from d2v_jax.models.decoder import ConvDecoder, decode_visible
from d2v_jax.models.encoder import Encoder, EncoderOutput
from d2v_jax.objectives import losses

Params = dict[str, Any]
Batch = dict[str, jax.Array]


@dataclasses.dataclass(frozen=True)
class Pixels:
  """Masked regression of patches of images, or log-mel frames of speech.

  Where the encoder sees a mask token at hidden places, the head predicts from
  its output; where it sees the visible tokens only, a decoder comes between.

  Attributes:
    encoder: the network.
    head: (init, call) linear map to the P numbers of a token's raw input.
    decoder: visible tokens -> all tokens, for masks that come with `keep_ids`;
      None for masks that come without.
    norm_targets: whether each token's P numbers are normalised, as the masked
      autoencoder does with a patch's.
  """

  encoder: Encoder
  head: Any
  decoder: ConvDecoder | None = None
  norm_targets: bool = True

  def __post_init__(self):
    if self.encoder.raw_targets is None:
      raise ValueError(
        "Pixels: the inputs of this encoder are no numbers to regress; for "
        "text choose the objective mlm."
      )

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

  def init_teacher(self, params: Params) -> Params:
    """There is no teacher."""
    return {}

  def targets(self, batch: Batch) -> jax.Array:
    """The raw input of each token, [B, N, P] float32.

    Raises:
      ValueError: the head has not P outputs.

    Source: arXiv 2111.06377 section 3; its code for the unbiased variance and
    the epsilon.
    """
    raw = self.encoder.raw_targets(batch)
    size = raw.shape[-1]
    if self.head.num_outputs != size:
      raise ValueError(
        f"Pixels: the raw input of a token is {size} numbers, but the head "
        f"has {self.head.num_outputs} outputs; set "
        f"config.objective.head.num_outputs={size}."
      )
    if not self.norm_targets:
      return raw
    variance = raw.var(-1, ddof=1, keepdims=True)
    return (raw - raw.mean(-1, keepdims=True)) / jnp.sqrt(variance + 1e-6)

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
    encoder_rng, decoder_rng = _split(rng)
    output = self.encoder(params, batch, keep_ids=keep_ids, rng=encoder_rng)
    tokens = decode_visible(
      self.decoder, params["decoder"], output, batch, decoder_rng
    )
    return self.head(params["head"], tokens)

  def loss(
    self,
    params: Params,
    teacher_params: Params,
    batch: Batch,
    rng: jax.Array | None,
  ) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Mean squared error at hidden positions.

    Args:
      params: the network's.
      teacher_params: {}.
      batch: `inputs`, `mask` [B, N] bool, or [B, M, N] with `keep_ids`
        [B, M, V], and what the modality needs.
      rng: key for dropout and the decoder's noise; None for neither.

    Returns:
      Scalar mean over the P numbers of the hidden tokens of the global batch,
      and metrics; `loss_weight` is the number of hidden tokens.
    """
    x = self.predictions(params, batch, rng)
    y = jax.lax.stop_gradient(self.targets(batch))
    # Rows are b-major, so that an example's masks follow one another.
    y = jnp.repeat(y, len(x) // len(y), axis=0)
    mask = batch["mask"].reshape(x.shape[:2])
    error = losses.regression_loss(x, y, beta=0.0).mean(-1)
    loss = losses.masked_mean(error, mask)
    return loss, {
      "target_std": losses.masked_std(y, mask),
      "prediction_std": losses.masked_std(jax.lax.stop_gradient(x), mask),
      "loss_weight": mask.sum().astype(loss.dtype),
    }

  def update_teacher(
    self, teacher_params: Params, params: Params, step: jax.Array
  ) -> tuple[Params, dict[str, jax.Array]]:
    """There is no teacher."""
    return {}, {}

  def encode(self, params: Params, batch: Batch) -> EncoderOutput:
    """Features of the whole input, for evaluation."""
    return self.encoder(params, batch)


def _split(rng):
  return (None, None) if rng is None else jax.random.split(rng)
