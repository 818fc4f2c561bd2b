"""What is regressed: the teacher's last layers, normalised and averaged.

Source: data2vec (arXiv 2202.03555) section 3.3, and the released code, which
does the same in version 2.
"""

import dataclasses

import jax

from d2v_jax.models.encoder import Encoder, EncoderOutput
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

  def __call__(self, teacher: EncoderOutput) -> jax.Array:
    """Makes targets of what the teacher made of the whole input.

    Returns:
      y [B, N, D] without gradient, float32 (float64 if the layers are).

    Raises:
      ValueError: the encoder has fewer than K layers.
    """
    layers = getattr(teacher, self.output)  # [L, B, N, D]
    padding = None if self.norm_padding else teacher.padding  # [B, N]
    y = average_top_k(
      layers, self.top_k, self.layer_norms, self.average_norms, padding
    )
    return jax.lax.stop_gradient(y)


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
  """
  if not 1 <= top_k <= len(layers):
    raise ValueError(
      f"Targets: top_k must be between 1 and the {len(layers)} layers of the "
      f"encoder, got {top_k}."
    )
  a = full_precision(layers[-top_k:])  # [K, B, N, D]
  for norm in layer_norms:
    a = jax.vmap(TARGET_NORMS[norm], (0, None))(a, padding)
  y = a.mean(0)  # y = 1/K sum_l a^l: [B, N, D]
  for norm in average_norms:
    y = TARGET_NORMS[norm](y, padding)
  return y


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
