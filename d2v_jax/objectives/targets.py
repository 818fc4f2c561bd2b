"""What is regressed: the teacher's last layers, normalised and averaged.

Source: data2vec (arXiv 2202.03555) section 3.3, and the released code, which
does the same in version 2.
"""

import dataclasses

import jax

from d2v_jax.models.encoder import Encoder, EncoderOutput
from d2v_jax.models.layer_average import LayerAverage
from d2v_jax.models.plain_norms import (
  batch_norm,
  full_precision,
  instance_norm,
  layer_norm,
)
from d2v_jax.objectives.objective import Batch, Params

OUTPUTS = ("block", "ffn", "attention")
TARGET_NORMS = {
  "layer": layer_norm,
  "instance": instance_norm,
  "batch": batch_norm,
}


@dataclasses.dataclass(frozen=True)
class Targets:
  """Averages of the teacher's top K layers.

  Attributes:
    top_k: K, how many of the last layers are averaged.
    output: of each layer: 'block' (the whole layer's), 'ffn' or 'attention'
      (before the residual).
    layer_norms: target norms of each layer before the average, in this order:
      any of 'batch', 'instance', 'layer'.
    average_norms: target norms after the average, in this order.
    norm_padding: padded tokens enter the statistics of batch and instance norm,
      as in the released code; else padding an example changes nothing.
  """

  top_k: int
  output: str
  layer_norms: tuple[str, ...]
  average_norms: tuple[str, ...] = ()
  norm_padding: bool = False

  def __post_init__(self) -> None:
    if self.top_k < 1:
      raise ValueError(f"Targets: top_k must be 1 or more, got {self.top_k}.")
    if self.output not in OUTPUTS:
      raise ValueError(
        f"Targets: unknown output {self.output!r}; choose one of: "
        f"{', '.join(OUTPUTS)}."
      )
    for name in ("layer_norms", "average_norms"):
      for norm in getattr(self, name):
        if norm not in TARGET_NORMS:
          raise ValueError(
            f"Targets: unknown norm {norm!r} in {name}; choose from: "
            f"{', '.join(TARGET_NORMS)}."
          )

  @property
  def layers(self) -> LayerAverage:
    """What the encoder averages: y = 1/K sum_l norm(a^l)."""
    return LayerAverage(self.top_k, self.output, self._normalised)

  def _normalised(self, a, padding):
    """One layer's output a [B, N, D] after the target norms of layers."""
    a = full_precision(a)
    for norm in self.layer_norms:
      a = TARGET_NORMS[norm](a, None if self.norm_padding else padding)
    return a

  def __call__(self, teacher: EncoderOutput) -> jax.Array:
    """Makes targets of what the teacher made of the whole input.

    Args:
      teacher: its output, with the average of `layers`.

    Returns:
      y [B, N, D] without gradient, float32 (float64 if the layers are).
    """
    y = teacher.average
    if y is None:
      raise ValueError("Targets: the encoder was not asked for the average.")
    padding = None if self.norm_padding else teacher.padding  # [B, N]
    for norm in self.average_norms:
      y = TARGET_NORMS[norm](y, padding)
    return jax.lax.stop_gradient(y)


def shared_features(
  encoder: Encoder, params: Params, teacher_params: Params, batch: Batch
) -> jax.Array | None:
  """Tokens [B, N, D] below the mask that both networks would compute alike.

  None where the teacher averages a part that they depend on, or the encoder
  has no such part.
  """
  parts = set(encoder.feature_parts)
  if not parts or parts & set(teacher_params):
    return None
  return encoder.encode_features(params, batch)
