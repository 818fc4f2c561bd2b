"""Names of weights in fairseq and in the vision release <-> our trees."""

from d2v_jax.interchange.names import Rule, linear, norm


def _layers(prefix: str) -> tuple[Rule, ...]:
  """Rules of fairseq's Transformer layers."""
  layer = f"{prefix}layers.{{layer}}."
  qkv = "blocks/attention/qkv/kernel"
  rules = [
    *norm(f"{layer}self_attn_layer_norm", "blocks/norm1"),
    *norm(f"{layer}final_layer_norm", "blocks/norm2"),
    *linear(f"{layer}self_attn.out_proj", "blocks/attention/out"),
    *linear(f"{layer}fc1", "blocks/mlp/fc1"),
    *linear(f"{layer}fc2", "blocks/mlp/fc2"),
  ]
  for part, name in enumerate("qkv"):
    projection = f"{layer}self_attn.{name}_proj"
    rules += [
      Rule(f"{projection}.weight", qkv, "linear", part),
      Rule(f"{projection}.bias", f"blocks/attention/{name}_bias"),
    ]
  return tuple(rules)


_CONV = "feature_extractor.conv_layers.{i}."
_POSITION = "encoder.pos_conv.{i}."
SPEECH = (
  Rule("mask_emb", "mask_token"),
  Rule(f"{_CONV}0.weight", "feature_encoder/conv{i}/kernel", "conv"),
  Rule(f"{_CONV}0.bias", "feature_encoder/conv{i}/bias"),
  *norm(f"{_CONV}2", "feature_encoder/norm{i}"),
  *norm(f"{_CONV}2.1", "feature_encoder/norm{i}"),
  *norm("layer_norm", "feature_projection/norm"),
  *linear("post_extract_proj", "feature_projection/proj"),
  # Several convolutions, or a single one with weight norm.
  Rule(f"{_POSITION}0.weight", "positions/kernel{i}", "conv"),
  Rule(f"{_POSITION}0.bias", "positions/bias{i}"),
  Rule(f"{_POSITION}weight_v", "positions/kernel{i}", "conv"),
  Rule(f"{_POSITION}weight_g", "positions/scale{i}", "scalars"),
  Rule(f"{_POSITION}bias", "positions/bias{i}"),
  *norm("encoder.layer_norm", "norm"),
  *_layers("encoder."),
  *linear("final_proj", "head/fc1"),
  *linear("final_proj.0", "head/fc1"),
  *linear("proj", "head/fc1"),
)

_SENTENCE = "encoder.sentence_encoder."
TEXT = (
  Rule(f"{_SENTENCE}embed_tokens.weight", "feature_encoder/embedding"),
  Rule(f"{_SENTENCE}embed_positions.weight", "position_embedding"),
  *norm(f"{_SENTENCE}layernorm_embedding", "embedding_norm"),
  *norm(f"{_SENTENCE}layer_norm", "norm"),
  *_layers(_SENTENCE),
  *linear("classification_head.dense", "head/fc1"),
  *linear("classification_head.out_proj", "head/fc2"),
)


def regression_head(layers: int) -> tuple[Rule, ...]:
  """Rules of the text model's head; a GELU stands between two maps."""
  return tuple(
    rule
    for i in range(layers)
    for rule in linear(f"encoder.regression_head.{2 * i}", f"head/fc{i + 1}")
  )


def _vit(blocks: str, fc1: str, fc2: str) -> tuple[Rule, ...]:
  """Rules of BEiT's blocks."""
  block = f"{blocks}blocks.{{layer}}."
  attention = f"{block}attn."
  return (
    Rule(f"{block}gamma_1", "blocks/gamma_attention"),
    Rule(f"{block}gamma_2", "blocks/gamma_ffn"),
    *norm(f"{block}norm1", "blocks/norm1"),
    *norm(f"{block}norm2", "blocks/norm2"),
    Rule(f"{attention}qkv.weight", "blocks/attention/qkv/kernel", "linear"),
    Rule(f"{attention}q_bias", "blocks/attention/q_bias"),
    Rule(f"{attention}v_bias", "blocks/attention/v_bias"),
    Rule(
      f"{attention}relative_position_bias_table",
      "blocks/relative_position_bias/table",
    ),
    *linear(f"{attention}proj", "blocks/attention/out"),
    *linear(f"{block}mlp.{fc1}", "blocks/mlp/fc1"),
    *linear(f"{block}mlp.{fc2}", "blocks/mlp/fc2"),
    Rule(
      f"{blocks}rel_pos_bias.relative_position_bias_table",
      "relative_position_bias/table",
    ),
    *norm(f"{blocks}norm", "norm"),
  )


VISION = (
  Rule("cls_token", "cls_token"),
  Rule("mask_token", "mask_token"),
  Rule("pos_embed", "position_embedding"),
  Rule("patch_embed.proj.weight", "feature_encoder/proj/kernel", "patch"),
  Rule("patch_embed.proj.bias", "feature_encoder/proj/bias"),
  *_vit("", "fc1", "fc2"),
  *linear("lm_head", "head/fc1"),
  *norm("fc_norm", "head/norm"),
  *linear("head", "head/fc1"),
)

# fairseq's own version of the vision model.
VISION_PORT = (
  Rule("cls_emb", "cls_token"),
  Rule("mask_emb", "mask_token"),
  Rule("patch_embed.conv.weight", "feature_encoder/proj/kernel", "patch"),
  Rule("patch_embed.conv.bias", "feature_encoder/proj/bias"),
  *_vit("encoder.", "0", "2"),
)
