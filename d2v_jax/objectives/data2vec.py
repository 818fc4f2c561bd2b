"""data2vec: predict what a teacher computes from the whole input.

Source: Baevski et al. 2022, arXiv 2202.03555, section 3. The same file serves
images, speech and text.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from d2v_jax.models.encoder import Encoder, EncoderOutput
from d2v_jax.objectives import ema, losses

Params = dict[str, Any]
Batch = dict[str, jax.Array]

TARGETS = ("block", "ffn", "attention")
LOSS_SCALES: dict[str, Callable[[int], float]] = {
  "mean": lambda width: 1.0 / width,
  "rsqrt": lambda width: width**-0.5,
}


@dataclasses.dataclass(frozen=True)
class Data2Vec:
  """Masked regression of the teacher's averaged top-K layer outputs.

  Attributes:
    encoder: the student's network, and the teacher's.
    head: (init, call) last map of the student.
    ema: which sub-trees the teacher averages, and how slowly.
    top_k: K, how many of the last layers the target averages.
    target: layer output that is averaged: 'block', 'ffn' or 'attention'.
    layer_norms: target norms of each layer before the average, in this order:
      any of 'batch', 'instance', 'layer'.
    average_norms: target norms after the average, in this order.
    norm_padding: padded tokens enter the statistics of batch and instance norm,
      as in the released code; else padding an example changes nothing.
    loss_beta: smooth-L1 switch; 0 is squared error without the half.
    loss_scale: factor on the sum over D: 'mean' (1/D, the released vision
      code), 'rsqrt' (1/sqrt(D), speech) or a number (text: 1).
  """

  encoder: Encoder
  head: Any
  ema: ema.Ema
  top_k: int = 6
  target: str = "block"
  layer_norms: tuple[str, ...] = ("layer",)
  average_norms: tuple[str, ...] = ()
  norm_padding: bool = False
  loss_beta: float = 2.0
  loss_scale: str | float = "mean"

  def __post_init__(self):
    name = type(self).__name__
    if self.target not in TARGETS:
      raise ValueError(
        f"{name}: unknown target {self.target!r}; choose one of: "
        f"{', '.join(TARGETS)}."
      )
    for norm in (*self.layer_norms, *self.average_norms):
      if norm not in losses.TARGET_NORMS:
        raise ValueError(
          f"{name}: unknown target norm {norm!r}; choose from: "
          f"{', '.join(losses.TARGET_NORMS)}."
        )
    if isinstance(self.loss_scale, str) and self.loss_scale not in LOSS_SCALES:
      raise ValueError(
        f"{name}: unknown loss_scale {self.loss_scale!r}; choose one of: "
        f"{', '.join(LOSS_SCALES)}, or give a number."
      )

  def init(self, rng: jax.Array, batch: Batch) -> Params:
    """Fresh student parameters: the encoder's sub-trees and `head`."""
    encoder_rng, head_rng = jax.random.split(rng)
    params = self.encoder.init(encoder_rng, batch)
    tokens = self.encoder(params, batch).tokens
    return {**params, "head": self.head.init(head_rng, tokens)}

  def init_teacher(self, params: Params) -> Params:
    """The teacher starts as a copy of the student's tracked sub-trees."""
    return self.ema.init(params)

  def targets(
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
    output = self.encoder(teacher, batch, features=features)
    average = average_top_k(
      getattr(output, self.target),
      self.top_k,
      self.layer_norms,
      self.average_norms,
      None if self.norm_padding else output.padding,
    )
    return jax.lax.stop_gradient(average)

  def predictions(
    self,
    params: Params,
    batch: Batch,
    rng: jax.Array | None,
    features: jax.Array | None = None,
  ) -> jax.Array:
    """The student sees the masked input: [B, N, D]."""
    if "mask" not in batch:
      raise ValueError("Data2Vec: the batch has no mask; set config.data.mask.")
    output = self.encoder(
      params, batch, mask=batch["mask"], rng=rng, features=features
    )
    return self.head(params["head"], output.tokens)

  def loss(
    self,
    params: Params,
    teacher_params: Params,
    batch: Batch,
    rng: jax.Array | None,
  ) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Equation 2, over masked positions only.

    Args:
      params: the student's.
      teacher_params: the teacher's tracked sub-trees.
      batch: `inputs`, `mask` [B, N] bool and what the modality needs.
      rng: key for the student's dropout; None for none.

    Returns:
      Scalar mean over the masked tokens of the global batch, and metrics.
      `loss_weight`, the number of masked tokens, is the weight of this loss
      among micro-batches.
    """
    features = self.shared_features(params, teacher_params, batch)
    x = self.predictions(params, batch, rng, features)
    y = self.targets(params, teacher_params, batch, features)
    mask = batch["mask"]
    error = losses.regression_loss(x, y, self.loss_beta).sum(-1)
    loss = self.scale(y.shape[-1]) * losses.masked_mean(error, mask)
    return loss, {
      "target_std": losses.masked_std(y, mask),
      "prediction_std": losses.masked_std(jax.lax.stop_gradient(x), mask),
      "loss_weight": mask.sum().astype(loss.dtype),
    }

  def scale(self, width: int) -> float:
    """Factor on the sum over D, for width D."""
    if isinstance(self.loss_scale, str):
      return LOSS_SCALES[self.loss_scale](width)
    return self.loss_scale

  def shared_features(
    self, params: Params, teacher_params: Params, batch: Batch
  ) -> jax.Array | None:
    """What both networks would compute alike, if the teacher shares it."""
    parts = set(self.encoder.feature_parts)
    if not parts or parts & set(teacher_params):
      return None
    return self.encoder.encode_features(params, batch)

  def update_teacher(
    self, teacher_params: Params, params: Params, step: jax.Array
  ) -> tuple[Params, dict[str, jax.Array]]:
    """Equation 1 after `step` completed updates, and the decay for the log."""
    updated = self.ema.update(teacher_params, params, step)
    return updated, {"ema_decay": self.ema.decay(step)}

  def encode(self, params: Params, batch: Batch) -> EncoderOutput:
    """Features of the whole input, for evaluation."""
    return self.encoder(params, batch)


def average_top_k(
  layers: jax.Array,
  top_k: int,
  layer_norms: tuple[str, ...],
  average_norms: tuple[str, ...],
  padding: jax.Array | None = None,
) -> jax.Array:
  """Average of the normalised last K layer outputs.

  Args:
    layers: [L, B, N, D].
    top_k: K, 1 to L.
    layer_norms: names of target norms applied to each layer, in this order.
    average_norms: names of target norms applied to the average.
    padding: [B, N] bool, True for tokens that no statistic counts, or None.

  Returns:
    [B, N, D] float32 (float64 if the layers are).

  Raises:
    ValueError: if there are fewer than K layers.

  Source: section 3.3.
  """
  if not 1 <= top_k <= len(layers):
    raise ValueError(
      f"Data2Vec: top_k must be between 1 and the {len(layers)} layers of the "
      f"encoder, got {top_k}."
    )
  top = layers[-top_k:].astype(jnp.promote_types(layers.dtype, jnp.float32))
  for norm in layer_norms:
    top = jax.vmap(losses.TARGET_NORMS[norm], (0, None))(top, padding)
  average = top.mean(0)
  for norm in average_norms:
    average = losses.TARGET_NORMS[norm](average, padding)
  return average
