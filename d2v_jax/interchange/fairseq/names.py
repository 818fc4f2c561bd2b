"""Names of weights in fairseq and in the vision release <-> our trees."""

from d2v_jax.interchange.weights import Rule, linear, norm, qkv


def _layers(prefix: str) -> tuple[Rule, ...]:
  """Rules of fairseq's Transformer layers."""
  layer = f"{prefix}layers.{{layer}}."
  return (
    *norm(f"{layer}self_attn_layer_norm", "blocks/norm1"),
    *norm(f"{layer}final_layer_norm", "blocks/norm2"),
    *qkv(*(f"{layer}self_attn.{x}_proj" for x in "qkv")),
    *linear(f"{layer}self_attn.out_proj", "blocks/attention/out"),
    *linear(f"{layer}fc1", "blocks/mlp/fc1"),
    *linear(f"{layer}fc2", "blocks/mlp/fc2"),
  )


def _extractor(prefix: str) -> tuple[Rule, ...]:
  """Rules of wav2vec 2.0's convolutions, each with a norm or only the first."""
  conv = f"{prefix}conv_layers.{{i}}."
  return (
    *linear(f"{conv}0", "feature_encoder/conv{i}", "conv"),
    *norm(f"{conv}2", "feature_encoder/norm{i}"),
    *norm(f"{conv}2.1", "feature_encoder/norm{i}"),
  )


_POSITION = "encoder.pos_conv.{i}."
CTC_HEAD = linear("proj", "head/fc1")
SPEECH = (
  Rule("mask_emb", "mask_token"),
  *_extractor("feature_extractor."),
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
  *CTC_HEAD,
)

_SENTENCE = "encoder.sentence_encoder."
SENTENCE_HEAD = (
  *linear("classification_head.dense", "head/fc1"),
  *linear("classification_head.out_proj", "head/fc2"),
)
TEXT = (
  Rule(f"{_SENTENCE}embed_tokens.weight", "feature_encoder/embedding"),
  Rule(f"{_SENTENCE}embed_positions.weight", "position_embedding"),
  *norm(f"{_SENTENCE}layernorm_embedding", "embedding_norm"),
  *norm(f"{_SENTENCE}layer_norm", "norm"),
  *_layers(_SENTENCE),
  *SENTENCE_HEAD,
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


RECON_HEAD = linear("recon_proj", "head/fc1")
IMAGE_HEAD = (*norm("fc_norm", "head/norm"), *linear("head", "head/fc1"))
VISION = (
  Rule("cls_token", "cls_token"),
  Rule("mask_token", "mask_token"),
  Rule("pos_embed", "position_embedding"),
  *linear("patch_embed.proj", "feature_encoder/proj", "patch"),
  *_vit("", "fc1", "fc2"),
  *linear("lm_head", "head/fc1"),
  *IMAGE_HEAD,
)

# fairseq's own version of the vision model.
VISION_PORT = (
  Rule("cls_emb", "cls_token"),
  Rule("mask_emb", "mask_token"),
  *linear("patch_embed.conv", "feature_encoder/proj", "patch"),
  *_vit("encoder.", "0", "2"),
)


def _multi_blocks(prefix: str, path: str) -> tuple[Rule, ...]:
  """Rules of data2vec 2.0's blocks."""
  block = f"{prefix}blocks.{{layer}}."
  return (
    *norm(f"{block}norm1", f"{path}/norm1"),
    *norm(f"{block}norm2", f"{path}/norm2"),
    Rule(f"{block}attn.qkv.weight", f"{path}/attention/qkv/kernel", "linear"),
    Rule(f"{block}attn.qkv.bias", f"{path}/attention/{{x}}_bias", "qkv"),
    *linear(f"{block}attn.proj", f"{path}/attention/out"),
    *linear(f"{block}mlp.fc1", f"{path}/mlp/fc1"),
    *linear(f"{block}mlp.fc2", f"{path}/mlp/fc2"),
  )


def multi(encoder: str, position_depth: int = 0) -> tuple[Rule, ...]:
  """Rules of data2vec 2.0 but for its decoder, of any modality.

  Args:
    encoder: how the names in the modality's own part begin, such as
      'modality_encoders.AUDIO.'.
    position_depth: convolutions that make the positions of speech.
  """
  local = f"{encoder}local_encoder."
  position = f"{encoder}relative_positional_encoder."
  return (
    Rule(f"{encoder}extra_tokens", "cls_token"),
    Rule(f"{encoder}alibi_scale", "alibi_scale", "scalars"),
    *norm(f"{encoder}context_encoder.norm", "prenet_norm"),
    *_multi_blocks(f"{encoder}context_encoder.", "prenet"),
    *_multi_blocks("", "blocks"),
    # Images.
    *linear(f"{local}proj", "feature_encoder/proj", "patch"),
    # Speech. The first module of the positions turns the axes.
    *_extractor(local),
    *norm(f"{encoder}project_features.1", "feature_projection/norm"),
    *linear(f"{encoder}project_features.2", "feature_projection/proj"),
    *(
      rule
      for i in range(position_depth)
      for rule in (
        Rule(f"{position}{i + 1}.0.weight", f"positions/kernel{i}", "conv"),
        Rule(f"{position}{i + 1}.0.bias", f"positions/bias{i}"),
      )
    ),
    # Text.
    Rule(f"{local}embed_tokens.weight", "feature_encoder/embedding"),
    Rule(f"{local}embed_positions.weight", "position_embedding"),
    *norm(f"{local}layernorm_embedding", "embedding_norm"),
  )


def decoder(prefix: str, projection_layers: int) -> tuple[Rule, ...]:
  """Rules of data2vec 2.0's decoder; a GELU stands between linear maps."""
  one = projection_layers == 1
  return (
    *linear(f"{prefix}blocks.{{i}}.0", "decoder/conv{i}", "conv"),
    *(
      rule
      for i in range(projection_layers)
      for rule in linear(
        f"{prefix}proj" + ("" if one else f".{2 * i}"), f"decoder/proj{i + 1}"
      )
    ),
  )
