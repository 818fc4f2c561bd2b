"""Sizes of attention, and where heads lie in the registers of a TPU."""

import dataclasses
import math
from typing import Any

import jax.numpy as jnp

from d2v_jax.models.attention.attention_bias import AttentionBias

# Numbers that a register has beside each other.
LANES = 128
# Queries at once: [N, 512] float32 of a few kinds are what VMEM has to hold.
QUERIES = 512


def _up(size, step):
  """The next multiple."""
  return -(-size // step) * step


@dataclasses.dataclass(frozen=True)
class TpuSizes:
  """Sizes of one attention, and where its heads lie.

  Attributes:
    length: N.
    width: D.
    num_heads: number of heads.
    dropout: rate for the weights.
  """

  length: int
  width: int
  num_heads: int
  dropout: float = 0.0

  @property
  def head(self) -> int:
    """Width of one head."""
    return self.width // self.num_heads

  @property
  def group(self) -> int:
    """Width of a group of heads, a multiple of 128."""
    group = math.lcm(self.head, LANES)
    return self.padded if self.width % group else group

  @property
  def padded(self) -> int:
    """D, or the next multiple of 128."""
    return _up(self.width, LANES)

  @property
  def heads_in_group(self) -> int:
    """Heads that one group has."""
    return min(self.group // self.head, self.num_heads)

  def window(self, head: int) -> tuple[int, int]:
    """First and last + 1 of the lanes of a group that hold one of its heads."""
    start = head * self.head
    return start // LANES * LANES, _up(start + self.head, LANES)

  def vmem_bytes(self, dtype: Any, bias: AttentionBias) -> int:
    """About what the backward pass holds at once in the core's memory."""
    rows, lanes = _up(self.length, 16), _up(self.length, LANES)
    # q, k, v, their gradient and that of the output; each twice, since the
    # next example arrives while one is computed.
    held = 2 * 7 * rows * self.padded * jnp.dtype(dtype).itemsize
    if bias.pairs is not None:
      held += 3 * self.num_heads * rows * lanes * 4
    if bias.coordinates is not None:
      held += rows * lanes * 4
    held += 12 * rows * min(lanes, QUERIES) * 4
    return held + 4 * rows * self.group * 4
