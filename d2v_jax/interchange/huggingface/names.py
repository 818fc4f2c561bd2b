"""Parameters of Hugging Face's Data2Vec models <-> our paths."""

from d2v_jax.interchange.weights import Rule, linear, norm, qkv


def vision(patch_size: int) -> tuple[Rule, ...]:
  """Rules of Data2VecVision, with the head of ...ForImageClassification."""
  layer = "encoder.layer.{layer}."
  attention = f"{layer}attention.attention."
  table = "relative_position_bias.relative_position_bias_table"
  patches = "embeddings.patch_embeddings.projection"
  kernel = "feature_encoder/proj/kernel"
  return (
    Rule("embeddings.cls_token", "cls_token"),
    Rule("embeddings.mask_token", "mask_token"),
    Rule("embeddings.position_embeddings", "position_embedding"),
    Rule(f"{patches}.weight", kernel, "patch", patch_size=patch_size),
    Rule(f"{patches}.bias", "feature_encoder/proj/bias"),
    Rule(f"encoder.{table}", "relative_position_bias/table"),
    Rule(f"{attention}{table}", "blocks/relative_position_bias/table"),
    *qkv(*(f"{attention}{x}" for x in ("query", "key", "value"))),
    *linear(f"{layer}attention.output.dense", "blocks/attention/out"),
    *linear(f"{layer}intermediate.dense", "blocks/mlp/fc1"),
    *linear(f"{layer}output.dense", "blocks/mlp/fc2"),
    *norm(f"{layer}layernorm_before", "blocks/norm1"),
    *norm(f"{layer}layernorm_after", "blocks/norm2"),
    Rule(f"{layer}lambda_1", "blocks/gamma_attention"),
    Rule(f"{layer}lambda_2", "blocks/gamma_ffn"),
    *norm("layernorm", "norm"),
    *norm("pooler.layernorm", "head/norm"),
    *linear("classifier", "head/fc1"),
  )


def speech() -> tuple[Rule, ...]:
  """Rules of Data2VecAudio, without a head."""
  position = "encoder.pos_conv_embed.layers.{i}.conv."
  return (
    *_frames_and_layers(),
    Rule(f"{position}weight", "positions/kernel{i}", "conv"),
    Rule(f"{position}bias", "positions/bias{i}"),
  )


def _frames_and_layers() -> tuple[Rule, ...]:
  conv = "feature_extractor.conv_layers.{i}."
  layer = "encoder.layers.{layer}."
  return (
    Rule("masked_spec_embed", "mask_token"),
    *linear(f"{conv}conv", "feature_encoder/conv{i}", "conv"),
    *norm(f"{conv}layer_norm", "feature_encoder/norm{i}"),
    *norm("feature_projection.layer_norm", "feature_projection/norm"),
    *linear("feature_projection.projection", "feature_projection/proj"),
    *norm("encoder.layer_norm", "norm"),
    *qkv(*(f"{layer}attention.{x}_proj" for x in "qkv")),
    *linear(f"{layer}attention.out_proj", "blocks/attention/out"),
    *norm(f"{layer}layer_norm", "blocks/norm1"),
    *linear(f"{layer}feed_forward.intermediate_dense", "blocks/mlp/fc1"),
    *linear(f"{layer}feed_forward.output_dense", "blocks/mlp/fc2"),
    *norm(f"{layer}final_layer_norm", "blocks/norm2"),
  )


_POSITION = "encoder.pos_conv_embed.conv."
# Names in files of older versions of the library.
OLDER_POSITIONS = (
  Rule(f"{_POSITION}weight_g", "positions/scale0", "scalars"),
  Rule(f"{_POSITION}weight_v", "positions/kernel0", "conv"),
)


def wav2vec2() -> tuple[Rule, ...]:
  """Rules of wav2vec 2.0, with one convolution of positions, weight-normed."""
  weight = f"{_POSITION}parametrizations.weight.original"
  return (
    *_frames_and_layers(),
    Rule(f"{weight}0", "positions/scale0", "scalars"),
    Rule(f"{weight}1", "positions/kernel0", "conv"),
    Rule(f"{_POSITION}bias", "positions/bias0"),
  )


def bert() -> tuple[Rule, ...]:
  """Rules of BERT, with the head of BertForSequenceClassification."""
  types = "embeddings.token_type_embeddings.weight"
  return (
    *_text(),
    Rule(types, "token_type_embedding"),
    *linear("pooler.dense", "head/fc1"),
    *linear("classifier", "head/fc2"),
  )


def text() -> tuple[Rule, ...]:
  """Rules of Data2VecText, with the head of ...ForSequenceClassification."""
  return (
    *_text(),
    *linear("classifier.dense", "head/fc1"),
    *linear("classifier.out_proj", "head/fc2"),
  )


def _text() -> tuple[Rule, ...]:
  layer = "encoder.layer.{layer}."
  return (
    Rule("embeddings.word_embeddings.weight", "feature_encoder/embedding"),
    Rule("embeddings.position_embeddings.weight", "position_embedding"),
    *norm("embeddings.LayerNorm", "embedding_norm"),
    *qkv(*(f"{layer}attention.self.{x}" for x in ("query", "key", "value"))),
    *linear(f"{layer}attention.output.dense", "blocks/attention/out"),
    *norm(f"{layer}attention.output.LayerNorm", "blocks/norm1"),
    *linear(f"{layer}intermediate.dense", "blocks/mlp/fc1"),
    *linear(f"{layer}output.dense", "blocks/mlp/fc2"),
    *norm(f"{layer}output.LayerNorm", "blocks/norm2"),
  )
