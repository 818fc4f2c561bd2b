"""Token ids as vectors with positions, as RoBERTa makes them."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from d2v_jax.data.layout import EOS, PAD, UNK, TokenInputs
from d2v_jax.models import checks
from d2v_jax.models.encoder import Batch, there
from d2v_jax.models.initializers import bert_init
from d2v_jax.models.layers import layer_norm
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


class TokensWithPositions(nn.Module):
  """Token ids [B, N] to embeddings [B, N, D] with positions.

  With several token types, as BERT has them, tokens up to the first </s> are of
  type 0, those up to the second one of type 1, and so on; the last type is that
  of all others.
  """

  inputs: TokenInputs
  width: int
  positions: str
  scale_embedding: bool
  embedding_norm: bool
  norm_eps: float
  token_types: int = 1

  @nn.compact
  def __call__(self, batch: Batch) -> jax.Array:
    """Maps `inputs` [B, N] to [B, N, D]."""
    tokens = batch["inputs"]
    if tokens.ndim != 2 or not jnp.issubdtype(tokens.dtype, jnp.integer):
      raise ValueError(
        f"text: inputs must be token ids [B, N], got {tokens.dtype} "
        f"{tokens.shape}."
      )
    longest = self.inputs.max_tokens
    if tokens.shape[1] > longest:
      raise ValueError(
        f"text: inputs have {tokens.shape[1]} tokens, more than "
        f"encoder.max_tokens={longest}; shorten them or raise it."
      )
    x = TokenEmbedding(
      self.inputs.vocab_size, self.width, name="feature_encoder"
    )(tokens)  # [B, N, D]
    if self.scale_embedding:
      x *= self.width**0.5
    length = longest + PAD + 1
    if self.positions == "learned":
      shape = (length, self.width)
      table = self.param("position_embedding", _embedding_init, shape)
    else:
      table = jnp.asarray(sinusoidal_positions(length, self.width), x.dtype)
      table = table.at[PAD].set(0.0)
    padding = tokens == PAD  # [B, N]
    x += table[token_positions(padding)]
    if self.token_types > 1:
      shape = (self.token_types, self.width)
      table = self.param("token_type_embedding", bert_init, shape)
      x += table[_types(tokens, self.token_types)]
    # Padding teaches the embedding nothing: its vectors stay what they are.
    x = jnp.where(padding[..., None], jax.lax.stop_gradient(x), x)
    if self.embedding_norm:
      x = layer_norm(self.norm_eps, "embedding_norm")(x)
    return x


def token_parts(tokens: TokensWithPositions) -> tuple[str, ...]:
  """Its top-level sub-trees."""
  return there(
    {
      "feature_encoder": True,
      "position_embedding": tokens.positions == "learned",
      "token_type_embedding": tokens.token_types > 1,
      "embedding_norm": tokens.embedding_norm,
    }
  )


def token_positions(padding: jax.Array) -> jax.Array:
  """Indices into the position table, [B, N], for padding [B, N] bool.

  Tokens are counted from 2 on; padding has 1, as its token id is.
  """
  return PAD + jnp.cumsum(~padding, axis=1) * ~padding


def _types(tokens: jax.Array, count: int) -> jax.Array:
  """Type of each token, [B, N], of tokens [B, N]."""
  ends = tokens == EOS
  before = jnp.cumsum(ends, axis=1) - ends  # of each token
  return jnp.minimum(before, count - 1)


def _embedding_init(key, shape, dtype=jnp.float32):
  return bert_init(key, shape, dtype).at[PAD].set(0.0)


def check_tokens(
  where: str, *, vocab_size: int, max_tokens: int, positions: str, width: int
) -> None:
  """Checks the arguments that networks for text have.

  Args:
    where: the constructor, for errors.
    vocab_size: tokens, the special ones among them.
    max_tokens: longest input.
    positions: name of the kind of positions.
    width: D.

  Raises:
    ValueError: names the constructor, the argument and its value.
  """
  # <s>, padding, </s>, unknown, and <mask>.
  checks.at_least(where, UNK + 2, vocab_size=vocab_size)
  checks.at_least(where, 1, max_tokens=max_tokens)
  checks.choice(where, POSITIONS, positions=positions)
  if positions == "sinusoidal":
    checks.at_least(where, 4, width=width)
