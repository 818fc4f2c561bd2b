"""How the reference's text cases are expressed in our terms."""

from d2v_jax.models.heads import RegressionHead
from d2v_jax.models.text import text
from tests.goldens import fairseq, inert
from tests.goldens.options import Options
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
  c = Options(meta["resolved_config"], inert.TEXT_V1)
  t = c.section("transformer", inert.TEXT_V1_TRANSFORMER)
  e = t.section("encoder", inert.TEXT_V1_ENCODER)
  t.off("dropout", "attention_dropout", "activation_dropout", "relu_dropout")
  t.off("no_token_positional_embeddings", "adaptive_input", "char_inputs")
  t.only("activation_fn", "gelu")
  t.only("max_source_positions", c["max_positions"])
  t.section("quant_noise", inert.TEXT_V1_QUANT_NOISE).off("pq", "scalar")
  e.off("layerdrop", "layers_to_keep", "embed_path", "xformers_att_config")
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
  c.finish()

  def batch(step, dtype):
    return {
      "inputs": step["input/target_tokens"],
      "student_inputs": step["input/src_tokens"],
      "mask": step["mask"].astype(bool),
    }

  return fairseq.Case(objective, Names(shapes, RULES), batch)
