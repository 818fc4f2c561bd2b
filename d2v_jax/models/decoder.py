"""data2vec 2.0's decoder: from the visible tokens to all of them.

Source: data2vec 2.0 (arXiv 2212.07525) and its released code.
"""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from d2v_jax.config import FromRun
from d2v_jax.models import checks
from d2v_jax.models.convolution import grouped_conv
from d2v_jax.models.dense_layers import INITIAL, dense
from d2v_jax.models.encoder import Batch, EncoderOutput
from d2v_jax.models.initializers import torch_uniform
from d2v_jax.models.layers import gelu
from d2v_jax.models.plain_norms import layer_norm
from d2v_jax.models.positions import sincos_positions
from d2v_jax.models.remat import inputs_kept
from d2v_jax.models.visible import NOISE_STD

POSITIONS = ("none", "hidden", "all")

# x [B, N, ...] with values [B, V, ...] at indices [B, V], example by example.
_scatter = jax.vmap(lambda x, index, values: x.at[index].set(values))


class _Layer(nn.Module):
  """Convolution, LayerNorm without parameters, GELU.

  In the compute dtype; initial values are PyTorch's.
  """

  width: int
  kernel: int
  groups: int
  compute_dtype: DTypeLike

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    channels = x.shape[-1] // self.groups
    taps = (self.kernel,) * (x.ndim - 2)
    init = torch_uniform(self.kernel ** len(taps) * channels)
    kernel = self.param("kernel", init, (*taps, channels, self.width))
    bias = self.param("bias", init, (self.width,))
    y, kernel = (a.astype(self.compute_dtype) for a in (x, kernel))
    y = grouped_conv(y, kernel, self.groups)
    return inputs_kept(_activated, self.compute_dtype)(y, bias)


def _activated(x, bias):
  """Bias, norm over channels and GELU of x [..., C]."""
  y = layer_norm(x.astype(bias.dtype) + bias)
  return gelu(y.astype(x.dtype))


class _Convolutions(nn.Module):
  """Convolution, LayerNorm without parameters, GELU, several times; a map."""

  width: int
  layers: int
  kernel: int
  groups: int
  residual: bool
  projection_layers: int
  grid: tuple[int, ...]
  initial: str
  compute_dtype: DTypeLike

  @nn.compact
  def __call__(self, x: jax.Array, padding: jax.Array | None) -> jax.Array:
    batch, length, width = x.shape
    space = self.grid or (length,)  # (H, W), or (N,)
    for i in range(self.layers):
      if padding is not None:
        x = jnp.where(padding[..., None], 0.0, x)
      y = _Layer(
        self.width,
        self.kernel,
        self.groups,
        self.compute_dtype,
        name=f"conv{i}",
      )(x.reshape(batch, *space, x.shape[-1]))  # [B, H, W, C], or [B, N, C]
      y = y.astype(x.dtype).reshape(batch, length, self.width)
      x = x + y if self.residual and x.shape == y.shape else y
    hidden = (2 * self.width,) * (self.projection_layers - 1)
    for i, size in enumerate((*hidden, width)):
      if i:
        x = gelu(x)
      x = dense(
        x,
        size,
        name=f"proj{i + 1}",
        initial=self.initial,
        compute_dtype=self.compute_dtype,
      )
    return x  # [B, N, D]


@dataclasses.dataclass(frozen=True)
class ConvDecoder:
  """Noise at hidden positions, then convolutions, then a linear map back to D.

  Attributes:
    width: channels between the convolutions.
    layers: number of convolutions, each followed by LayerNorm without
      parameters and GELU.
    kernel: positions that each sees, along each axis.
    groups: of channels; must divide D and the width.
    residual: whether a layer adds its input, where that has as many channels.
    projection_layers: linear maps at the end, with GELU and hidden width twice
      `width` between.
    input_dropout: rate for the visible tokens.
    noise_std: of the noise that stands for hidden tokens.
    positions: to which tokens of images fixed sine-cosine positions are added:
      'none', 'hidden' or 'all'.
    grid: (H, W) of the tokens of images; () for a sequence.
    isolate_padding: padded positions stay 0, so that padding an example changes
      nothing. False lets them leak into their neighbours, as in the released
      code.
    initial: initial values of the linear maps: 'torch' (uniform; images and
      speech) or 'normal' (std 0.02; text).
    compute_dtype: dtype of the products.
  """

  width: int = 768
  layers: int = 6
  kernel: int = 3
  groups: int = 16
  residual: bool = True
  projection_layers: int = 1
  input_dropout: float = 0.0
  noise_std: float = NOISE_STD
  positions: str = "none"
  grid: FromRun[tuple[int, ...]] = ()
  isolate_padding: bool = True
  initial: str = "torch"
  compute_dtype: FromRun[str] = "float32"

  def __post_init__(self) -> None:
    checks.at_least(
      "ConvDecoder",
      1,
      width=self.width,
      layers=self.layers,
      kernel=self.kernel,
      groups=self.groups,
      projection_layers=self.projection_layers,
    )
    checks.rates("ConvDecoder", input_dropout=self.input_dropout)
    checks.at_least("ConvDecoder", 0, noise_std=self.noise_std)
    checks.multiple("ConvDecoder", ("width", self.width), groups=self.groups)
    checks.choice("ConvDecoder", INITIAL, initial=self.initial)
    checks.choice("ConvDecoder", POSITIONS, positions=self.positions)
    if self.positions != "none" and not self.grid:
      raise ValueError(
        f"ConvDecoder: positions {self.positions!r} are those of images; set "
        "config.objective.decoder.positions='none' for a sequence."
      )

  def init(self, rng: jax.Array, tokens: jax.Array) -> dict[str, Any]:
    """Parameters for tokens [B, N, D] of the whole input."""
    self._check(tokens.shape)
    return self._module().init(rng, tokens, None)["params"]

  def __call__(
    self,
    params: dict[str, Any],
    tokens: jax.Array,
    keep_ids: jax.Array,
    length: int,
    rng: jax.Array | None,
    padding: jax.Array | None = None,
  ) -> jax.Array:
    """From visible tokens to all.

    Args:
      params: from `init`.
      tokens: [B, V, D] visible ones.
      keep_ids: [B, V] int, their positions.
      length: N, number of all tokens.
      rng: key for noise and dropout; None for neither (0 is put in).
      padding: [B, N] bool, True where the token is padding, or None.

    Returns:
      [B, N, D].

    Raises:
      ValueError: the tokens do not fit the arguments.
    """
    filled = self.fill(tokens, keep_ids, length, rng)
    return self.decode(params, filled, padding)

  def fill(
    self,
    tokens: jax.Array,
    keep_ids: jax.Array,
    length: int,
    rng: jax.Array | None,
  ) -> jax.Array:
    """Tokens [B, V, D] at their positions, and noise elsewhere: [B, N, D]."""
    shape = (len(tokens), length, tokens.shape[-1])
    filled = jnp.zeros(shape, tokens.dtype)
    if rng is not None:
      noise_rng, dropout_rng = jax.random.split(rng)
      noise = jax.random.normal(noise_rng, shape, tokens.dtype)
      filled = self.noise_std * noise
      if self.input_dropout:
        keep = 1.0 - self.input_dropout
        kept = jax.random.bernoulli(dropout_rng, keep, tokens.shape)
        tokens = jnp.where(kept, tokens / keep, 0.0)
    if self.positions == "none":
      return _scatter(filled, keep_ids, tokens)
    positions = sincos_positions((self.grid[0], self.grid[1]), shape[-1])
    if self.positions == "hidden":  # those of the others are replaced
      return _scatter(filled + positions, keep_ids, tokens)
    return _scatter(filled, keep_ids, tokens) + positions

  def decode(
    self,
    params: dict[str, Any],
    filled: jax.Array,
    padding: jax.Array | None = None,
  ) -> jax.Array:
    """Convolutions and the linear map: [B, N, D] to [B, N, D]."""
    self._check(filled.shape)
    padding = padding if self.isolate_padding else None
    return self._module().apply({"params": params}, filled, padding)

  def _check(self, shape):
    _, length, width = shape
    if width % self.groups:
      raise ValueError(
        f"ConvDecoder: groups {self.groups} do not divide the encoder's width "
        f"{width}; change one of them."
      )
    if self.grid and self.grid[0] * self.grid[1] != length:
      raise ValueError(
        f"ConvDecoder: {length} tokens are no grid of {self.grid}; leave grid "
        "out for a sequence."
      )

  def _module(self):
    return _Convolutions(
      width=self.width,
      layers=self.layers,
      kernel=self.kernel,
      groups=self.groups,
      residual=self.residual,
      projection_layers=self.projection_layers,
      grid=tuple(self.grid),
      initial=self.initial,
      compute_dtype=jnp.dtype(self.compute_dtype),
    )


def decode_visible(
  decoder: ConvDecoder,
  params: dict[str, Any],
  output: EncoderOutput,
  batch: Batch,
  rng: jax.Array | None,
) -> jax.Array:
  """Decodes what the encoder made of a batch's visible tokens.

  Args:
    decoder: the decoder.
    params: its parameters.
    output: of the encoder, for batch["keep_ids"].
    batch: `mask` [B, M, N] and `keep_ids` [B, M, V].
    rng: key for noise and dropout; None for neither.

  Returns:
    [B * M, N, D].
  """
  mask, keep_ids = (batch[name] for name in ("mask", "keep_ids"))
  length = mask.shape[-1]
  keep_ids = keep_ids.reshape(-1, keep_ids.shape[-1])
  padding = output.padding
  if padding is not None:
    # What is neither hidden, to be predicted, nor visible is padding.
    padding = _scatter(~mask.reshape(-1, length), keep_ids, padding)
  return decoder(params, output.tokens, keep_ids, length, rng, padding)
