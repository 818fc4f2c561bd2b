"""Text: RoBERTa's encoder, as data2vec uses it.

Source: data2vec section 4.3 and the released text code; Liu et al. 2019
(arXiv 1907.11692).
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from d2v_jax.data.layout import PAD, TokenInputs
from d2v_jax.models import checks, transformer
from d2v_jax.models.attention.attention_bias import AttentionBias
from d2v_jax.models.encoder import Batch, Encoder, EncoderOutput, SubTrees
from d2v_jax.models.initializers import bert_init
from d2v_jax.models.layer_average import LayerAverage
from d2v_jax.models.layers import dropout, layer_norm
from d2v_jax.models.token_embedding import (
  TokensWithPositions,
  check_tokens,
  token_parts,
)


class _Text(nn.Module):
  tokens: TokensWithPositions
  depth: int
  num_heads: int
  hidden: int
  pre_norm: bool
  norm_eps: float
  dropout: float
  attention_dropout: float
  activation_dropout: float
  attention: str
  remat: str
  compute_dtype: DTypeLike

  @nn.compact
  def __call__(
    self,
    batch: Batch,
    mask: jax.Array | None,
    average: LayerAverage | None = None,
  ) -> EncoderOutput:
    tokens = batch["inputs"]  # [B, N]
    if mask is not None:
      if mask.shape != tokens.shape:
        raise ValueError(
          f"text: mask {mask.shape} does not fit tokens {tokens.shape}."
        )
      tokens = batch.get("student_inputs", tokens)
      mask_id = self.tokens.inputs.vocab_size - 1
      tokens = jnp.where(mask, mask_id, tokens)
    padding = tokens == PAD
    nn.share_scope(self, self.tokens)
    x = self.tokens({"inputs": tokens})  # [B, N, D]
    x = dropout(self, x, self.dropout)
    x = jnp.where(padding[..., None], 0.0, x)
    x, layers, averaged = transformer.run_layers(
      x,
      jnp.zeros(self.depth),
      AttentionBias(padding=padding),
      average=average,
      padding=padding,
      attention=self.attention,
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
      kernel_init=bert_init,
      compute_dtype=self.compute_dtype,
    )
    if self.pre_norm:
      x = layer_norm(self.norm_eps, "norm")(x)
    return EncoderOutput(
      tokens=x,
      attention=layers.attention,
      ffn=layers.ffn,
      block=layers.block,
      cls=x[:, 0],
      block_cls=layers.block[:, :, 0],
      padding=padding,
      average=averaged,
    )


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
  token_types: int = 1,
  pre_norm: bool = False,
  norm_eps: float = 1e-5,
  dropout: float = 0.0,
  attention_dropout: float = 0.0,
  activation_dropout: float = 0.0,
  attention: str = "auto",
  remat: str = "none",
  compute_dtype: str = "float32",
) -> Encoder:
  """data2vec's text encoder.

  Sub-trees: feature_encoder (the token embedding), position_embedding,
  token_type_embedding (with several token types), embedding_norm, blocks (and
  norm with pre_norm). The released recipe averages the blocks in the teacher
  and shares the rest.

  Args:
    vocab_size: tokens, `<mask>` included, which is the last one; RoBERTa's by
      default.
    max_tokens: longest input; the learned positions are two more, as the first
      two are never used.
    width: D.
    depth: L.
    num_heads: attention heads; must divide the width.
    mlp_ratio: hidden width of the feed-forward part over D.
    positions: 'learned', or 'sinusoidal' (fixed).
    scale_embedding: multiply token embeddings by sqrt(D).
    embedding_norm: normalise the sum of token and position.
    token_types: kinds of tokens that have an embedding each, see
      `TokensWithPositions`; 1: there are none.
    pre_norm: norm before each branch, or after it (RoBERTa).
    norm_eps: epsilon of the model's norms.
    dropout: rate for the embedding and for each branch.
    attention_dropout: rate for attention weights.
    activation_dropout: rate after the GELU of the feed-forward part.
    attention: how attention is computed: 'auto' (by the kernel of the platform,
      where there is one) or 'plain' (by the products of its definition).
    remat: what the backward pass computes again (less memory): 'none', 'dots',
      all but products and attention, or 'full', all of each layer.
    compute_dtype: dtype of matrix products, e.g. 'bfloat16'.

  Returns:
    Encoder of `inputs` [B, N] token ids, where 1 is padding. With a mask it
    reads `student_inputs` instead, if the batch has them, and puts `<mask>` at
    masked positions. `cls` is the output of the first token, `<s>`.

  Raises:
    ValueError: for values out of range, sizes that do not divide and names that
      do not exist.

  Source: data2vec section 4.3, released text code.
  """
  transformer.check_layers(
    "text",
    width=width,
    depth=depth,
    num_heads=num_heads,
    mlp_ratio=mlp_ratio,
    norm_eps=norm_eps,
    attention=attention,
    remat=remat,
    dropout=dropout,
    attention_dropout=attention_dropout,
    activation_dropout=activation_dropout,
  )
  check_tokens(
    "text",
    vocab_size=vocab_size,
    max_tokens=max_tokens,
    positions=positions,
    width=width,
  )
  checks.at_least("text", 1, token_types=token_types)
  inputs = TokenInputs(vocab_size, max_tokens)
  tokens = TokensWithPositions(
    inputs,
    width=width,
    positions=positions,
    scale_embedding=scale_embedding,
    embedding_norm=embedding_norm,
    norm_eps=norm_eps,
    token_types=token_types,
  )
  module = _Text(
    tokens,
    depth=depth,
    num_heads=num_heads,
    hidden=round(width * mlp_ratio),
    pre_norm=pre_norm,
    norm_eps=norm_eps,
    dropout=dropout,
    attention_dropout=attention_dropout,
    activation_dropout=activation_dropout,
    attention=attention,
    remat=remat,
    compute_dtype=jnp.dtype(compute_dtype),
  )
  parts = SubTrees(token_parts(tokens), top=("norm",) if pre_norm else ())
  return Encoder(module, inputs, parts)
