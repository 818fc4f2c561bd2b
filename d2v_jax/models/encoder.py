"""The only door between Flax modules and the rest of the code.

Outside of `models/`, an encoder is a pure function of a dict of parameters.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
from flax import errors

from d2v_jax.data.layout import Inputs
from d2v_jax.models.layer_average import LayerAverage

Params = dict[str, Any]
Batch = dict[str, jax.Array]


class EncoderOutput(NamedTuple):
  """Everything an objective or evaluator may want; unused parts cost nothing.

  Of visible tokens alone (`keep_ids` [B, M, V]) B is B * M and N is V.

  Attributes:
    tokens: [B, N, D] output of the encoder, after its final norm if it has one.
    attention: [L, B, N, D] self-attention outputs before the residual.
    ffn: [L, B, N, D] feed-forward outputs before the residual.
    block: [L, B, N, D] outputs of whole layers.
    cls: [B, D] output of the CLS token, or None.
    block_cls: [L, B, D] CLS token after each layer, or None.
    padding: [B, N] bool, True where the token is padding, or None.
    average: [B, N, D] of the last layers' outputs, where it was asked for.
  """

  tokens: jax.Array
  attention: jax.Array
  ffn: jax.Array
  block: jax.Array
  cls: jax.Array | None = None
  block_cls: jax.Array | None = None
  padding: jax.Array | None = None
  average: jax.Array | None = None


@dataclasses.dataclass(frozen=True)
class SubTrees:
  """Names of the top-level sub-trees of a network's parameters.

  Attributes:
    bottom: below the layers: feature encoder, learned tokens and positions, and
      the norms that follow them.
    stacked: the layers, lowest first; each leaf is [L, ...], one entry for each
      layer.
    top: the others: attention biases of all layers, and the last norm.
  """

  bottom: tuple[str, ...]
  stacked: tuple[str, ...] = ("blocks",)
  top: tuple[str, ...] = ()

  @property
  def names(self) -> frozenset[str]:
    """All of them."""
    return frozenset((*self.bottom, *self.stacked, *self.top))


def there(names: Mapping[str, bool]) -> tuple[str, ...]:
  """The names of what there is."""
  return tuple(name for name, is_there in names.items() if is_there)


@dataclasses.dataclass(frozen=True)
class Encoder:
  """Feature encoder, masking, positions and Transformer as pure functions.

  Attributes:
    module: Linen module called as module(batch, mask) -> EncoderOutput; if
      there are `features`, as module(batch, mask, features); if it is `visible`
      with keep_ids=..., too.
    inputs: what its input is: size and patches of images, convolutions of a
      waveform, vocabulary and length of a text.
    sub_trees: the top-level sub-trees of its parameters.
    rescale: applied to fresh parameters, for initial values that depend on
      the layer's index.
    features: Linen module (batch) -> tokens [B, N, D] below the mask, where
      they are worth computing once for student and teacher; else None.
    feature_parts: top-level sub-trees that those depend on.
    prepare: (batch) -> batch with raw inputs made what the network computes on,
      such as uint8 images normalised; nothing happens to prepared ones.
    resize: parameters (any of the top-level sub-trees) saved for another input
      size -> for this one; those that fit come back as they are.
    left_out: top-level sub-trees that another setting of this encoder has and
      this one does without.
    visible: whether it can encode the visible tokens alone (data2vec 2.0).
    raw_targets: (batch) -> [B, N, P], the raw input of each token, where that
      is numbers; else None.
  """

  module: nn.Module
  inputs: Inputs
  sub_trees: SubTrees
  rescale: Callable[[Params], Params] = lambda params: params
  features: nn.Module | None = None
  feature_parts: tuple[str, ...] = ()
  prepare: Callable[[Batch], Batch] = lambda batch: batch
  resize: Callable[[Params], Params] = lambda params: params
  left_out: tuple[str, ...] = ()
  visible: bool = False
  raw_targets: Callable[[Batch], jax.Array] | None = None

  @property
  def grid(self) -> tuple[int, ...]:
    """Tokens along each axis of an image; () where the input has a length."""
    return self.inputs.grid

  def init(self, rng: jax.Array, batch: Batch) -> Params:
    """Fresh parameters; only shapes and dtypes of the batch matter."""
    return self.rescale(
      self.module.init({"params": rng}, batch, None)["params"]
    )

  def __call__(
    self,
    params: Params,
    batch: Batch,
    *,
    mask: jax.Array | None = None,
    keep_ids: jax.Array | None = None,
    rng: jax.Array | None = None,
    features: jax.Array | None = None,
    average: LayerAverage | None = None,
  ) -> EncoderOutput:
    """Encodes a batch.

    Args:
      params: dict of parameter sub-trees; keys of others are ignored.
      batch: `inputs` and what else the modality needs.
      mask: [B, N] bool, True = replaced by the mask token (by noise in version
        2); None = whole input.
      keep_ids: [B, M, V] int, ascending: encode these tokens alone, M choices
        of each example; None = all.
      rng: key for dropout and drop path. None means none of either: that is
        how the teacher and the evaluators run.
      features: what `encode_features` gave for the same batch, or None.
      average: of the last layers, if it is wanted.

    Returns:
      EncoderOutput; with `keep_ids` of B * M choices, those of the same example
      next to each other.

    Raises:
      ValueError: the parameters, or the batch, are of another network.
    """
    if keep_ids is not None and not self.visible:
      raise ValueError(
        "this encoder needs all tokens and cannot take keep_ids; set "
        "encoder.name to one of data2vec 2.0's (visible_vit, visible_speech, "
        "visible_signal, visible_text), or use a mask without keep_ids."
      )
    rngs = {} if rng is None else {"dropout": rng}
    # Not all modules have the first two.
    options: dict[str, Any] = {
      "features": features,
      "keep_ids": keep_ids,
      "average": average,
    }
    options = {k: v for k, v in options.items() if v is not None}
    try:
      output = self.module.apply(
        {"params": params}, batch, mask, rngs=rngs, **options
      )
    except errors.FlaxError as e:
      raise ValueError(
        f"the parameters do not fit the arguments of the encoder: {e}"
      ) from e
    return cast(EncoderOutput, output)

  def with_front_end(
    self, params: Params, batch: Batch
  ) -> tuple[EncoderOutput, jax.Array]:
    """Encodes the whole input, and tells what its feature encoder made of it.

    Args:
      params: as for `__call__`.
      batch: as for `__call__`.

    Returns:
      The output, and the tokens [B, N, C] of the sub-tree `feature_encoder`:
      patches, frames of convolutions, or embedded tokens, without positions.
    """
    output, state = self.module.apply(
      {"params": params},
      batch,
      None,
      capture_intermediates=_is_front_end,
      mutable=["intermediates"],
    )
    (front_end,) = jax.tree.leaves(state["intermediates"])
    return cast(EncoderOutput, output), front_end

  def encode_features(self, params: Params, batch: Batch) -> jax.Array:
    """Tokens [B, N, D] below the mask, for encoders that have `features`.

    Raises:
      ValueError: this one has none.
    """
    if self.features is None:
      raise ValueError("this encoder has no features below the mask.")
    return cast(jax.Array, self.features.apply({"params": params}, batch))


def _is_front_end(module: nn.Module, method: str) -> bool:
  return module.name == "feature_encoder" and method == "__call__"
