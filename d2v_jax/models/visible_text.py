"""Text: data2vec 2.0's encoder, which can encode the visible tokens alone.

Source: data2vec 2.0 (arXiv 2212.07525) and its released code.
"""

import jax
import jax.numpy as jnp

from d2v_jax.data.layout import PAD, TokenInputs
from d2v_jax.models import visible
from d2v_jax.models.encoder import Batch, Encoder
from d2v_jax.models.token_embedding import (
  TokensWithPositions,
  check_tokens,
  token_parts,
)


def visible_text(
  *,
  vocab_size: int = 50_265,
  max_tokens: int = 512,
  width: int = 768,
  prenet_depth: int = 0,
  depth: int = 12,
  num_heads: int = 12,
  mlp_ratio: float = 4.0,
  positions: str = "learned",
  scale_embedding: bool = False,
  embedding_norm: bool = True,
  alibi: bool = False,
  norm_eps: float = 1e-5,
  dropout: float = 0.0,
  attention_dropout: float = 0.0,
  activation_dropout: float = 0.0,
  attention: str = "auto",
  remat: str = "none",
  compute_dtype: str = "float32",
) -> Encoder:
  """data2vec 2.0's text encoder, with norms after each branch.

  Sub-trees: feature_encoder (the token embedding), position_embedding,
  embedding_norm, prenet_norm and prenet (unless prenet_depth is 0), alibi_scale
  with `alibi`, blocks.

  Args:
    vocab_size: tokens, `<mask>` included, which is the last one; RoBERTa's by
      default.
    max_tokens: longest input; the learned positions are two more, as the first
      two are never used.
    width: D.
    prenet_depth: layers before those that targets are taken from, and before
      them a norm if there are any.
    depth: L, layers that targets are taken from.
    num_heads: attention heads; must divide the width.
    mlp_ratio: hidden width of the feed-forward part over D.
    positions: 'learned', or 'sinusoidal' (fixed).
    scale_embedding: multiply token embeddings by sqrt(D).
    embedding_norm: normalise the sum of token and position.
    alibi: attention biases that fall with distance.
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
    Encoder of `inputs` [B, N] token ids, where 1 is padding. `cls` is the
    output of the first token, `<s>`, where all tokens are encoded.

  Raises:
    ValueError: for values out of range, sizes that do not divide and names that
      do not exist.

  Source: data2vec 2.0's released text code.
  """
  visible.check_layers(
    "visible_text",
    width=width,
    prenet_depth=prenet_depth,
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
    "visible_text",
    vocab_size=vocab_size,
    max_tokens=max_tokens,
    positions=positions,
    width=width,
  )
  inputs = TokenInputs(vocab_size, max_tokens)
  tokens = TokensWithPositions(
    inputs,
    width=width,
    positions=positions,
    scale_embedding=scale_embedding,
    embedding_norm=embedding_norm,
    norm_eps=norm_eps,
  )
  module = visible.VisibleEncoder(
    features=tokens,
    padding=_padding,
    num_heads=num_heads,
    hidden=round(width * mlp_ratio),
    depth=depth,
    prenet_depth=prenet_depth,
    prenet_norm=prenet_depth > 0,
    norm_eps=norm_eps,
    first_token_is_cls=True,
    alibi_scales=num_heads if alibi else 0,
    input_dropout=dropout,
    dropout=dropout,
    attention_dropout=attention_dropout,
    activation_dropout=activation_dropout,
    attention=attention,
    remat=remat,
    compute_dtype=jnp.dtype(compute_dtype),
  )
  parts = token_parts(tokens)
  return Encoder(
    module,
    inputs,
    module.sub_trees(parts),
    features=tokens,
    feature_parts=parts,
    visible=True,
  )


def _padding(batch: Batch) -> jax.Array:
  return batch["inputs"] == PAD
