"""How the reference's text cases are expressed in our terms."""

import pytest

from d2v_jax.models.heads import RegressionHead
from d2v_jax.models.text import text
from tests.goldens import fairseq
from tests.goldens.torch_names import Names, Rule

_PREFIX = r"(?:encoder\.)?sentence_encoder\."
_HEAD = r"(?:encoder\.)?regression_head\."
RULES = (
  Rule(_PREFIX + r"embed_tokens\.weight", "feature_encoder/embedding"),
  Rule(_PREFIX + r"embed_positions\.weight", "position_embedding"),
  *fairseq.norm(_PREFIX + "layernorm_embedding", "embedding_norm"),
  *fairseq.norm(_PREFIX + "layer_norm", "norm"),
  *fairseq.layer_rules(_PREFIX),
  # A GELU stands between two of them.
  *fairseq.linear(_HEAD + "0", "head/fc1"),
  *fairseq.linear(_HEAD + "2", "head/fc2"),
  *fairseq.linear(_HEAD + "4", "head/fc3"),
)


def text_v1(meta: dict, shapes: dict, dtype: str) -> fairseq.Case:
  """fairseq's data2vec_text."""
  c = meta["resolved_config"]
  t = c["transformer"]
  e = t["encoder"]
  for name in ("dropout", "attention_dropout", "activation_dropout"):
    if t[name]:
      pytest.skip(f"option {name}: random numbers differ")
  if e["layerdrop"] or t["activation_fn"] != "gelu":
    pytest.skip("options layerdrop, activation_fn: not here")
  if t["no_token_positional_embeddings"]:
    pytest.skip("option no_token_positional_embeddings: not here")
  width = e["embed_dim"]
  encoder = text(
    vocab_size=meta["data"]["vocab"],
    max_tokens=c["max_positions"],
    width=width,
    depth=e["layers"],
    num_heads=e["attention_heads"],
    mlp_ratio=e["ffn_embed_dim"] / width,
    positions="learned" if e["learned_pos"] else "sinusoidal",
    scale_embedding=not t["no_scale_embedding"],
    embedding_norm=t["layernorm_embedding"],
    pre_norm=e["normalize_before"],
    compute_dtype=dtype,
  )
  # With pre-norm the reference's list of shared parts misspells the last norm,
  # which is then averaged; targets do not depend on it.
  tracked = ("blocks", "norm") if e["normalize_before"] else ("blocks",)
  if not c["ema_transformer_layers_only"]:
    tracked = ("feature_encoder", *tracked)
    if e["learned_pos"]:
      tracked = ("position_embedding", *tracked)
    if t["layernorm_embedding"]:
      tracked = ("embedding_norm", *tracked)
  scale = c["loss_scale"]
  objective = fairseq.objective(
    c,
    encoder,
    RegressionHead(c["head_layers"], compute_dtype=dtype),
    tracked,
    "rsqrt" if scale <= 0 else scale,
  )

  def batch(step, dtype):
    return {
      "inputs": step["input/target_tokens"],
      "student_inputs": step["input/src_tokens"],
      "mask": step["mask"].astype(bool),
    }

  return fairseq.Case(objective, Names(shapes, RULES), batch)
