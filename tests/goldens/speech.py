"""How the reference's speech cases are expressed in our terms."""

import re

from d2v_jax.models.heads import RegressionHead
from d2v_jax.models.speech import speech
from tests.goldens import fairseq, inert
from tests.goldens.options import Options
from tests.goldens.torch_names import Names, Rule

_CONV = r"feature_extractor\.conv_layers\.(?P<i>\d+)\."
_POSITION = r"encoder\.pos_conv\.(?P<i>\d+)\."
RULES = (
  Rule("mask_emb", "mask_token"),
  Rule(_CONV + r"0\.weight", "feature_encoder/conv{i}/kernel", "conv"),
  Rule(_CONV + r"0\.bias", "feature_encoder/conv{i}/bias"),
  *fairseq.norm(_CONV + r"2(\.1)?", "feature_encoder/norm{i}"),
  *fairseq.norm("layer_norm", "feature_projection/norm"),
  *fairseq.linear("post_extract_proj", "feature_projection/proj"),
  Rule(_POSITION + r"0\.weight", "positions/kernel{i}", "conv"),
  Rule(_POSITION + r"0\.bias", "positions/bias{i}"),
  Rule(_POSITION + r"weight_v", "positions/kernel{i}", "conv"),
  Rule(_POSITION + r"weight_g", "positions/scale{i}", "flat"),
  Rule(_POSITION + r"bias", "positions/bias{i}"),
  *fairseq.norm(r"encoder\.layer_norm", "norm"),
  *fairseq.layer_rules(r"encoder\."),
  *fairseq.linear("final_proj", "head/fc1"),
)
NORMS = {"layer_norm": "layer", "default": "group"}
_OFF = (
  "dropout",
  "attention_dropout",
  "activation_dropout",
  "encoder_layerdrop",
  "dropout_input",
  "dropout_features",
  "mask_channel_prob",
  "group_norm_target_layer",
  "fp16",
)


def audio_v1(meta: dict, shapes: dict, dtype: str) -> fairseq.Case:
  """fairseq's data2vec_audio."""
  c = Options(meta["resolved_config"], inert.AUDIO_V1)
  c.off(*_OFF)
  c.only("layer_type", "transformer")
  c.only("activation_fn", "gelu")
  c.only("ema_transformer_only", True)
  c.only("crop_seq_to_multiple", 1)
  layers = conv_layers(c["conv_feature_layers"])
  width = c["encoder_embed_dim"]
  encoder = speech(
    conv_layers=layers,
    conv_norm=NORMS[c.only("extractor_mode", *NORMS)],
    conv_bias=c["conv_bias"],
    feature_grad_scale=c["feature_grad_mult"],
    width=width,
    depth=c["encoder_layers"],
    num_heads=c["encoder_attention_heads"],
    mlp_ratio=c["encoder_ffn_embed_dim"] / width,
    position_depth=c["pos_conv_depth"],
    position_width=c["conv_pos"],
    position_groups=c["conv_pos_groups"],
    isolate_padding=False,
    pre_norm=c["layer_norm_first"],
    compute_dtype=dtype,
  )
  tracked = ("norm", "blocks")
  if not c["ema_layers_only"]:
    tracked = ("positions", *tracked)
  scale = c["loss_scale"]
  objective = fairseq.objective(
    c,
    encoder,
    RegressionHead(1, compute_dtype=dtype),
    tracked,
    "rsqrt" if scale is None else scale,
  )
  c.finish()

  def batch(step, dtype):
    out = {
      "inputs": step["input/source"].astype(dtype),
      "mask": step["mask"].astype(bool),
    }
    if "feature_padding_mask" in step:
      out["padding"] = step["feature_padding_mask"].astype(bool)
    return out

  return fairseq.Case(objective, Names(shapes, RULES), batch)


def conv_layers(text: str) -> tuple[tuple[int, int, int], ...]:
  """The layers of fairseq's '[(512,10,5)] + [(512,3,2)] * 4'."""
  found = []
  for term in re.findall(r"\[([^\]]*)\]\s*(?:\*\s*(\d+))?", text):
    triples = re.findall(r"\((\d+),\s*(\d+),\s*(\d+)\)", term[0])
    found += [tuple(map(int, t)) for t in triples] * int(term[1] or 1)
  return tuple(found)
