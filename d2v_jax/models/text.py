"""Text: RoBERTa's encoder, as data2vec uses it.

Source: data2vec section 4.3 and the released text code; Liu et al. 2019
(arXiv 1907.11692).
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from d2v_jax.data.layout import PAD, TokenInputs
from d2v_jax.models import transformer, visible
from d2v_jax.models.encoder import Encoder, EncoderOutput
from d2v_jax.models.positions import sinusoidal_positions

POSITIONS = ("learned", "sinusoidal")


class TokenEmbedding(nn.Module):
  """One vector for each token of the vocabulary; that of padding is zero."""

  vocab_size: int
  width: int

  @nn.compact
  def __call__(self, tokens: jax.Array) -> jax.Array:
    """Maps token ids [B, N] to [B, N, D]."""
    shape = (self.vocab_size, self.width)
    return self.param("embedding", _embedding_init, shape)[tokens]


class _Tokens(nn.Module):
  """Token ids [B, N] to embeddings [B, N, D] with positions."""

  vocab_size: int
  max_tokens: int
  width: int
  positions: str
  scale_embedding: bool
  embedding_norm: bool
  norm_eps: float

  @nn.compact
  def __call__(self, batch):
    tokens = batch["inputs"]
    if tokens.ndim != 2 or not jnp.issubdtype(tokens.dtype, jnp.integer):
      raise ValueError(
        f"text: inputs must be token ids [B, N], got {tokens.dtype} "
        f"{tokens.shape}."
      )
    if tokens.shape[1] > self.max_tokens:
      raise ValueError(
        f"text: inputs have {tokens.shape[1]} tokens, more than "
        f"encoder.max_tokens={self.max_tokens}; shorten them or raise it."
      )
    x = TokenEmbedding(self.vocab_size, self.width, name="feature_encoder")(
      tokens
    )
    if self.scale_embedding:
      x *= self.width**0.5
    rows = self.max_tokens + PAD + 1
    if self.positions == "learned":
      shape = (rows, self.width)
      table = self.param("position_embedding", _embedding_init, shape)
    else:
      table = jnp.asarray(sinusoidal_positions(rows, self.width), x.dtype)
      table = table.at[PAD].set(0.0)
    padding = tokens == PAD
    x += table[token_positions(padding)]
    # The rows of padding stay what they are.
    x = jnp.where(padding[..., None], jax.lax.stop_gradient(x), x)
    if self.embedding_norm:
      x = transformer.layer_norm(self.norm_eps, "embedding_norm")(x)
    return x


class _Text(nn.Module):
  tokens: _Tokens
  depth: int
  num_heads: int
  hidden: int
  pre_norm: bool
  norm_eps: float
  dropout: float
  attention_dropout: float
  activation_dropout: float
  remat: bool
  compute_dtype: Any

  @nn.compact
  def __call__(self, batch, mask):
    tokens = batch["inputs"]
    if mask is not None:
      if mask.shape != tokens.shape:
        raise ValueError(
          f"text: mask {mask.shape} does not fit tokens {tokens.shape}."
        )
      tokens = batch.get("student_inputs", tokens)
      tokens = jnp.where(mask, self.tokens.vocab_size - 1, tokens)
    padding = tokens == PAD
    nn.share_scope(self, self.tokens)
    x = self.tokens({"inputs": tokens})
    x = transformer.dropout(self, x, self.dropout)
    x = jnp.where(padding[..., None], 0.0, x)
    x, layers = transformer.stacked_blocks(
      self.depth,
      remat=self.remat,
      name="blocks",
      num_heads=self.num_heads,
      hidden=self.hidden,
      pre_norm=self.pre_norm,
      key_bias=True,
      norm_eps=self.norm_eps,
      dropout=self.dropout,
      attention_dropout=self.attention_dropout,
      activation_dropout=self.activation_dropout,
      kernel_init=transformer.bert_init,
      compute_dtype=self.compute_dtype,
    )(x, jnp.zeros(self.depth), transformer.padding_bias(padding))
    if self.pre_norm:
      x = transformer.layer_norm(self.norm_eps, "norm")(x)
    return EncoderOutput(
      x,
      *layers,
      cls=x[:, 0],
      block_cls=layers.block[:, :, 0],
      padding=padding,
    )


def token_positions(padding: jax.Array) -> jax.Array:
  """Rows of the position table for tokens with padding [B, N] bool.

  Real tokens are counted from 2 on; padding has 1, as its token id is.
  """
  return PAD + jnp.cumsum(~padding, axis=1) * ~padding


def _padding(batch):
  return batch["inputs"] == PAD


def _embedding_init(key, shape, dtype=jnp.float32):
  return transformer.bert_init(key, shape, dtype).at[PAD].set(0.0)


def text(
  *,
  vocab_size: int = 50_265,
  max_tokens: int = 512,
  width: int = 768,
  depth: int = 12,
  num_heads: int = 12,
  mlp_ratio: float = 4.0,
  positions: str = "learned",
  scale_embedding: bool = False,
  embedding_norm: bool = True,
  pre_norm: bool = False,
  norm_eps: float = 1e-5,
  dropout: float = 0.0,
  attention_dropout: float = 0.0,
  activation_dropout: float = 0.0,
  prenet_depth: int | None = None,
  alibi: bool = False,
  remat: bool = False,
  compute_dtype: str = "float32",
) -> Encoder:
  """data2vec's text encoder.

  Sub-trees: feature_encoder (the token embedding), position_embedding,
  embedding_norm, blocks (and norm with pre_norm). The released recipe averages
  the blocks in the teacher and shares the rest. With `prenet_depth` (version 2)
  also prenet_norm and prenet if that is not 0, and alibi_scale with `alibi`.

  Args:
    vocab_size: tokens, `<mask>` included, which is the last one; RoBERTa's by
      default.
    max_tokens: longest input; the learned positions have two rows more, as the
      first two ids are never a place.
    width: D.
    depth: L.
    num_heads: attention heads; must divide the width.
    mlp_ratio: hidden width of the feed-forward part over D.
    positions: 'learned', or 'sinusoidal' (fixed).
    scale_embedding: multiply token embeddings by sqrt(D).
    embedding_norm: normalise the sum of token and position.
    pre_norm: norm before each branch, or after it (RoBERTa).
    norm_eps: epsilon of the model's norms.
    dropout: rate for the embedding and for each branch.
    attention_dropout: rate for attention weights.
    activation_dropout: rate after the GELU of the feed-forward part.
    prenet_depth: layers before those that targets are taken from, and before
      them a norm if there are any: the encoder of data2vec 2.0, which can
      encode visible tokens alone; None is version 1.
    alibi: with prenet_depth, attention biases that fall with distance.
    remat: recompute activations in the backward pass.
    compute_dtype: dtype of matrix products, e.g. 'bfloat16'.

  Returns:
    Encoder of `inputs` [B, N] token ids, where 1 is padding. With a mask
    version 1 reads `student_inputs` instead, if the batch has them, and puts
    `<mask>` at masked positions. `cls` is the output of the first token, `<s>`,
    where all tokens are encoded.

  Raises:
    ValueError: for sizes that do not divide, rates and names that do not exist.

  Source: data2vec section 4.3, released text code.
  """
  if width % num_heads:
    raise ValueError(
      f"text: width {width} is not a multiple of num_heads {num_heads}; "
      "change one of them."
    )
  if positions not in POSITIONS:
    raise ValueError(
      f"text: unknown positions {positions!r}; choose one of: "
      f"{', '.join(POSITIONS)}."
    )
  transformer.check_rates(
    "text",
    dropout=dropout,
    attention_dropout=attention_dropout,
    activation_dropout=activation_dropout,
  )
  tokens = _Tokens(
    vocab_size=vocab_size,
    max_tokens=max_tokens,
    width=width,
    positions=positions,
    scale_embedding=scale_embedding,
    embedding_norm=embedding_norm,
    norm_eps=norm_eps,
  )
  layers = {
    "depth": depth,
    "num_heads": num_heads,
    "hidden": round(width * mlp_ratio),
    "norm_eps": norm_eps,
    "dropout": dropout,
    "attention_dropout": attention_dropout,
    "activation_dropout": activation_dropout,
    "remat": remat,
    "compute_dtype": jnp.dtype(compute_dtype),
  }
  inputs = TokenInputs(vocab_size, max_tokens)
  if not visible.is_version_2("text", prenet_depth, pre_norm, alibi):
    return Encoder(_Text(tokens, pre_norm=pre_norm, **layers), inputs)
  module = visible.VisibleEncoder(
    features=tokens,
    padding=_padding,
    prenet_depth=prenet_depth,
    prenet_norm=prenet_depth > 0,
    first_token_is_cls=True,
    alibi_scales=num_heads if alibi else 0,
    input_dropout=dropout,
    **layers,
  )
  parts = ("feature_encoder", "position_embedding", "embedding_norm")
  return Encoder(
    module, inputs, features=tokens, feature_parts=parts, visible=True
  )
