"""data2vec 2.0's encoder, which can encode the visible tokens alone.

The networks of all three modalities are the same above their features.

Source: data2vec 2.0 (arXiv 2212.07525) and its released code. Three things of
that code are not here. Where its layers have the norm before each branch, half
of the residual stream is lost; we have the norm after, which all its models
have. It drops activations a second time, after the feed-forward part, which
matters where `activation_dropout` is used: in fine-tuning for speech. And it
lets the embedding dropout of text reach the teacher, too.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from d2v_jax.models import checks, transformer
from d2v_jax.models import positions as positions_lib
from d2v_jax.models.attention.attention_bias import AttentionBias, coordinates
from d2v_jax.models.encoder import Batch, EncoderOutput, SubTrees, there
from d2v_jax.models.initializers import bert_init
from d2v_jax.models.layer_average import LayerAverage
from d2v_jax.models.layers import dropout, layer_norm

# Of the noise that stands for hidden tokens, here and in the decoder.
NOISE_STD = 0.01

# Of x [B, N, ...] those of indices [B, ...], example by example: [B, ..., ...].
take = jax.vmap(lambda x, index: x[index])


class VisibleEncoder(nn.Module):
  """Features, norm, context layers and layers, all with the norm after.

  With `keep_ids` the features are computed once per example, and M choices of
  them go through the layers: what is hidden costs nothing there.

  Attributes:
    features: module (batch) -> tokens [B, N, D] with their positions, if those
      do not depend on the mask.
    padding: (batch) -> [B, N] bool, True where a token is padding, or None.
    num_heads: attention heads.
    hidden: width of the feed-forward parts.
    depth: layers that targets are taken from.
    prenet_depth: layers before them.
    prenet_norm: whether a norm comes first.
    norm_eps: epsilon of the norms.
    extra_tokens: learned tokens in front; the last one is `cls`.
    first_token_is_cls: without those, `cls` is the first token, as in text.
    alibi_scales: learned scales of the attention bias that falls with distance:
      one for each head, 1 for all heads, or 0 for no such bias.
    grid: (H, W) of tokens that have two coordinates; () for one.
    conv_positions: makes the module (x, padding) -> positions of [B, N, D] that
      depend on the visible features; or None.
    isolate_padding: padded tokens are 0 where those positions are computed.
    input_dropout: rate for the features.
    dropout: rate for what enters the layers, if there is a norm, and for each
      branch.
    attention_dropout: rate for attention weights.
    activation_dropout: rate after the GELU of the feed-forward parts.
    layer_drop: probability of skipping a layer, per update.
    drop_path: rate of the last layer, see `drop_path_rates`.
    attention: how attention is computed.
    remat: what the backward pass computes again (less memory): 'none', 'dots',
      all but products and attention, or 'full', all of each layer.
    compute_dtype: dtype of matrix products.
  """

  features: nn.Module
  padding: Callable[[Batch], jax.Array | None]
  num_heads: int
  hidden: int
  depth: int
  prenet_depth: int
  prenet_norm: bool
  norm_eps: float
  extra_tokens: int = 0
  first_token_is_cls: bool = False
  alibi_scales: int = 0
  grid: tuple[int, ...] = ()
  conv_positions: Callable[[], nn.Module] | None = None
  isolate_padding: bool = True
  input_dropout: float = 0.0
  dropout: float = 0.0
  attention_dropout: float = 0.0
  activation_dropout: float = 0.0
  layer_drop: float = 0.0
  drop_path: float = 0.0
  attention: str = "auto"
  remat: str = "none"
  compute_dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self,
    batch: Batch,
    mask: jax.Array | None,
    features: jax.Array | None = None,
    keep_ids: jax.Array | None = None,
    average: LayerAverage | None = None,
  ) -> EncoderOutput:
    """Encodes the whole input, or M choices of visible tokens.

    Args:
      batch: `inputs` and what else the modality needs.
      mask: [B, N] bool, True = replaced by noise (by 0 without dropout).
      features: [B, N, D] of the same batch, if they are known.
      keep_ids: [B, M, V] int, visible tokens; None: all are.
      average: of the last layers, if it is wanted.

    Returns:
      EncoderOutput of B * M choices of V tokens, those of the same example next
      to each other; or of B examples of N tokens.
    """
    if features is None:
      nn.share_scope(self, self.features)
      features = self.features(batch)
    # From here on the residual stream is float32, or float64 if features are.
    x = features.astype(jnp.promote_types(features.dtype, jnp.float32))
    x = dropout(self, x, self.input_dropout)  # [B, N, D]
    padding = self.padding(batch)  # [B, N]
    self._check(x, mask=mask, padding=padding, keep_ids=keep_ids)
    if mask is not None:
      x = self._hide(x, mask, batch.get("channel_mask"))
    # With keep_ids from here on B is B * M, and N is V.
    x, padding, ids = self._visible(x, padding, keep_ids)
    x, padding, bias = self._with_extra_tokens(x, padding, ids)
    if self.prenet_norm:
      x = layer_norm(self.norm_eps, "prenet_norm")(x)
      x = dropout(self, x, self.dropout)
    prenet_rates, rates = drop_path_rates(
      self.prenet_depth, self.depth, self.drop_path
    )
    if self.prenet_depth:
      x, _, _ = self._layers(x, prenet_rates, bias, name="prenet")
    extra = self.extra_tokens
    if padding is not None:
      padding = padding[:, extra:]
    x, layers, averaged = self._layers(
      x,
      rates,
      bias,
      name="blocks",
      average=average,
      prefix=extra,
      padding=padding,
    )
    first = extra - 1
    if self.first_token_is_cls and not extra and keep_ids is None:
      first = 0
    return EncoderOutput(
      tokens=x[:, extra:],
      attention=layers.attention[:, :, extra:],
      ffn=layers.ffn[:, :, extra:],
      block=layers.block[:, :, extra:],
      cls=x[:, first] if first >= 0 else None,
      block_cls=layers.block[:, :, first] if first >= 0 else None,
      padding=padding,
      average=averaged,
    )

  def sub_trees(self, feature_parts: tuple[str, ...]) -> SubTrees:
    """Top-level sub-trees, where these are those of the features."""
    bottom = {
      "positions": self.conv_positions is not None,
      "cls_token": self.extra_tokens > 0,
      "prenet_norm": self.prenet_norm,
    }
    return SubTrees(
      bottom=(*feature_parts, *there(bottom)),
      stacked=("prenet", "blocks") if self.prenet_depth else ("blocks",),
      top=("alibi_scale",) if self.alibi_scales else (),
    )

  def _check(self, x, **arrays):
    for name, array in arrays.items():
      if array is None:
        continue
      fits, shape = array.shape == x.shape[:2], x.shape[:2]
      if name == "keep_ids":
        fits, shape = array.ndim == 3 and len(array) == len(x), "[B, M, V]"
      if not fits:
        raise ValueError(
          f"{name} {array.shape} does not fit the {x.shape[1]} tokens of each "
          f"of {len(x)} examples; it must be {shape}."
        )

  def _hide(self, x, mask, channel_mask):
    """Noise where the mask is, as in the released fine-tuning for speech."""
    noise = 0.0
    if self.has_rng("dropout"):
      noise = jax.random.normal(self.make_rng("dropout"), x.shape, x.dtype)
    x = jnp.where(mask[..., None], NOISE_STD * noise, x)
    if channel_mask is not None:
      x = jnp.where(channel_mask[:, None], 0.0, x)
    return x

  def _visible(self, x, padding, keep_ids):
    """Visible tokens with positions, their padding, and their indices.

    Args:
      x: [B, N, D].
      padding: [B, N], or None.
      keep_ids: [B, M, V], or None.

    Returns:
      [B * M, V, D], [B * M, V] or None, and [B * M, V] int; without keep_ids
      [B, N, D], padding, and [1, N].
    """
    length = x.shape[1]
    if keep_ids is None:
      if self.conv_positions is not None:
        x += self._positions(x, padding, None)
      return x, padding, jnp.arange(length)[None]
    num_masks = keep_ids.shape[1]

    def merged(array):
      return array.reshape(-1, *array.shape[2:])

    ids = merged(keep_ids)  # [B * M, V]
    kept = merged(take(x, keep_ids))  # [B * M, V, D]
    if self.conv_positions is not None:
      # These see the visible tokens around them, each where it was.
      seen = jax.vmap(lambda i: jnp.zeros(length, bool).at[i].set(True))(ids)
      copies = jnp.repeat(x, num_masks, axis=0)  # [B * M, N, D]
      all_padding = padding
      if padding is not None:
        all_padding = jnp.repeat(padding, num_masks, axis=0)
      kept += take(self._positions(copies, all_padding, ~seen), ids)
    if padding is not None:
      padding = merged(take(padding, keep_ids))
    return kept, padding, ids

  def _positions(self, x, padding, hidden):
    """Positions [B, N, D] of x, computed from what is neither of the two."""
    if not self.isolate_padding:
      padding = None
    if hidden is not None:
      x = jnp.where(hidden[..., None], 0.0, x)
    if padding is not None:
      x = jnp.where(padding[..., None], 0.0, x)
    return self.conv_positions()(x, padding)

  def _with_extra_tokens(self, x, padding, ids):
    """Puts learned tokens in front; the bias of attention to all tokens."""
    extra = self.extra_tokens
    if extra:
      shape = (1, extra, x.shape[-1])
      token = self.param("cls_token", nn.initializers.normal(1.0), shape)
      token = jnp.broadcast_to(token.astype(x.dtype), (x.shape[0], *shape[1:]))
      x = jnp.concatenate([token, x], axis=1)
      if padding is not None:
        padding = jnp.pad(padding, ((0, 0), (extra, 0)))
    bias = AttentionBias(padding=padding)
    if self.alibi_scales:
      shape = (self.alibi_scales,)
      scale = self.param("alibi_scale", nn.initializers.ones, shape)
      slopes = positions_lib.alibi_slopes(self.num_heads)
      slopes = jnp.maximum(scale, 0.0) * slopes.astype(scale.dtype)  # [heads]
      places = coordinates(ids, self.grid, extra)
      bias = bias._replace(coordinates=places, slopes=slopes)
    return x, padding, bias

  def _layers(self, x, rates, bias, **kwargs):
    return transformer.run_layers(
      x,
      rates,
      bias,
      attention=self.attention,
      remat=self.remat,
      num_heads=self.num_heads,
      hidden=self.hidden,
      pre_norm=False,
      key_bias=True,
      norm_eps=self.norm_eps,
      dropout=self.dropout,
      attention_dropout=self.attention_dropout,
      activation_dropout=self.activation_dropout,
      drop_path=self.drop_path > 0,
      layer_drop=self.layer_drop,
      kernel_init=bert_init,
      compute_dtype=self.compute_dtype,
      **kwargs,
    )


def drop_path_rates(
  prenet_depth: int, depth: int, rate: float
) -> tuple[np.ndarray, np.ndarray]:
  """Drop path rates of the layers before, and of those that follow.

  Args:
    prenet_depth: P.
    depth: L.
    rate: of the last layer.

  Returns:
    [P] and [L] float32, together growing from 0 to the rate.

  Source: released code, fine-tuning on images: of L rates evenly spaced from 0
  the first P are those of the layers before, and the others those of all L,
  spread over these. (It has P < L.)
  """
  rates = np.linspace(0.0, rate, depth, dtype=np.float32)
  first = min(prenet_depth, depth - 1)
  before = np.linspace(0.0, rates[max(first - 1, 0)], prenet_depth)
  after = np.linspace(rates[first], rate, depth)
  return before.astype(np.float32), after.astype(np.float32)


def check_layers(where: str, *, prenet_depth: int, **others: Any) -> None:
  """Checks the arguments that the layers of these encoders have.

  Args:
    where: the constructor, for errors.
    prenet_depth: layers before those that targets are taken from.
    **others: arguments of `transformer.check_layers`.

  Raises:
    ValueError: names the constructor, the argument and its value.
  """
  transformer.check_layers(where, **others)
  checks.at_least(where, 0, prenet_depth=prenet_depth)
