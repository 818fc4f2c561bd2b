"""What is regressed where raw input is: patches, log-mel frames, samples.

Source: He et al. 2021 (arXiv 2111.06377), section 3; its code for the unbiased
variance and the epsilon. data2vec 2.0's released code has the same.
"""

import jax
import jax.numpy as jnp

from d2v_jax.models.encoder import Encoder
from d2v_jax.models.heads import LinearHead
from d2v_jax.objectives.objective import Batch


def raw_targets(
  where: str, encoder: Encoder, head: LinearHead, batch: Batch, *, norm: bool
) -> jax.Array:
  """The raw input of each token.

  Args:
    where: the objective, for errors.
    encoder: the network, which says what that is.
    head: what predicts it.
    batch: `inputs`.
    norm: whether each token's P numbers get mean 0 and variance 1.

  Returns:
    [B, N, P] float32.

  Raises:
    ValueError: it is no numbers, or the head has not P outputs.
  """
  check_numbers(where, encoder)
  assert encoder.raw_targets is not None  # as that did not raise
  raw = encoder.raw_targets(batch)  # [B, N, P]
  size = raw.shape[-1]
  if head.num_outputs != size:
    raise ValueError(
      f"{where}: the raw input of a token is {size} numbers, but the head has "
      f"{head.num_outputs} outputs; set config.objective.head.num_outputs="
      f"{size}."
    )
  if not norm:
    return raw
  variance = raw.var(-1, ddof=1, keepdims=True)  # [B, N, 1]
  return (raw - raw.mean(-1, keepdims=True)) / jnp.sqrt(variance + 1e-6)


def check_numbers(where: str, encoder: Encoder) -> None:
  """Raises ValueError where raw inputs are no numbers to regress."""
  if encoder.raw_targets is None:
    raise ValueError(
      f"{where}: the inputs of this encoder are no numbers to regress; for "
      "text choose the objective mlm."
    )
