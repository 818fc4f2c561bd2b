"""How the reference's cases of data2vec 2.0 are expressed in our terms."""

import dataclasses

import jax
import numpy as np

from d2v_jax.models.decoder import ConvDecoder
from d2v_jax.models.encoder import Encoder
from d2v_jax.models.heads import LinearHead
from d2v_jax.models.visible_speech import visible_speech
from d2v_jax.models.visible_text import visible_text
from d2v_jax.models.visible_vision import visible_vit
from d2v_jax.objectives.data2vec2 import Data2Vec2
from d2v_jax.objectives.ema import Ema
from d2v_jax.objectives.targets import Targets
from tests.goldens import fairseq, inert
from tests.goldens.options import Options
from tests.goldens.speech import NORMS, conv_layers
from tests.goldens.torch_names import Names, Rule

_FIXED = "fixed_positional_encoder.positions"
_ENCODER = r"modality_encoders\.\w+\."
_CONV = _ENCODER + r"local_encoder\.conv_layers\.(?P<i>\d+)\."
# The first of these modules turns the axes.
_POSITION = _ENCODER + r"relative_positional_encoder\.{module}\.0\."


def _block_rules(prefix: str, path: str) -> tuple[Rule, ...]:
  block = prefix + r"blocks\.(?P<layer>\d+)\."
  return (
    *fairseq.norm(block + "norm1", f"{path}/norm1"),
    *fairseq.norm(block + "norm2", f"{path}/norm2"),
    Rule(
      block + r"attn\.qkv\.weight", f"{path}/attention/qkv/kernel", "linear"
    ),
    Rule(
      block + r"attn\.qkv\.bias",
      path + "/attention/{piece}_bias",
      pieces=("q", "k", "v"),
    ),
    *fairseq.linear(block + r"attn\.proj", f"{path}/attention/out"),
    *fairseq.linear(block + r"mlp\.(?P<fc>fc[12])", path + "/mlp/{fc}"),
  )


def _decoder_rules() -> tuple[Rule, ...]:
  decoder = _ENCODER + r"decoder\."
  conv = decoder + r"blocks\.(?P<i>\d+)\.0\."
  return (
    Rule(conv + "weight", "decoder/conv{i}/kernel", "conv"),
    Rule(conv + "bias", "decoder/conv{i}/bias"),
    *fairseq.linear(decoder + r"proj(?:\.0)?", "decoder/proj1"),
    # A GELU stands between two of them.
    *fairseq.linear(decoder + r"proj\.2", "decoder/proj2"),
    *fairseq.linear(decoder + r"proj\.4", "decoder/proj3"),
  )


def _position_rules(depth: int) -> tuple[Rule, ...]:
  rules = []
  for i in range(depth):
    conv = _POSITION.format(module=i + 1)
    rules.append(Rule(conv + "weight", f"positions/kernel{i}", "conv"))
    rules.append(Rule(conv + "bias", f"positions/bias{i}"))
  return tuple(rules)


RULES = (
  Rule(_ENCODER + "extra_tokens", "cls_token"),
  Rule(_ENCODER + "alibi_scale", "alibi_scale", "flat"),
  Rule(
    _ENCODER + r"local_encoder\.proj\.weight",
    "feature_encoder/proj/kernel",
    "patch",
  ),
  Rule(_ENCODER + r"local_encoder\.proj\.bias", "feature_encoder/proj/bias"),
  Rule(_CONV + r"0\.weight", "feature_encoder/conv{i}/kernel", "conv"),
  *fairseq.norm(_CONV + r"2(\.1)?", "feature_encoder/norm{i}"),
  *fairseq.norm(_ENCODER + r"project_features\.1", "feature_projection/norm"),
  *fairseq.linear(_ENCODER + r"project_features\.2", "feature_projection/proj"),
  *_position_rules(9),
  Rule(
    _ENCODER + r"local_encoder\.embed_tokens\.weight",
    "feature_encoder/embedding",
  ),
  Rule(
    _ENCODER + r"local_encoder\.embed_positions\.weight", "position_embedding"
  ),
  *fairseq.norm(
    _ENCODER + r"local_encoder\.layernorm_embedding", "embedding_norm"
  ),
  *fairseq.norm(_ENCODER + r"context_encoder\.norm", "prenet_norm"),
  *_block_rules(_ENCODER + r"context_encoder\.", "prenet"),
  *_block_rules("", "blocks"),
  *_decoder_rules(),
  *fairseq.linear("recon_proj", "head/fc1"),
)

# Options that must be off, of the model and of its modality.
_OFF = (
  "start_drop_path_rate",
  "end_drop_path_rate",
  "encoder_dropout",
  "post_mlp_drop",
  "attention_dropout",
  "activation_dropout",
  "dropout_input",
  "layerdrop",
  "layer_norm_first",
  "shared_decoder",
  "skip_ema",
)
_OFF_MODALITY = (
  "prenet_layerdrop",
  "prenet_dropout",
  "start_drop_path_rate",
  "end_drop_path_rate",
  "mask_channel_prob",
  "keep_masked_pct",
  "learned_alibi",
  "alibi_max_pos",
  "learned_alibi_scale_per_layer",
  "conv_pos_pre_ln",
  "transformer_decoder",
  "enc_dec_transformer",
  "no_token_positional_embeddings",
  "dropout",
)
_OFF_DECODER = ("input_dropout",)


@dataclasses.dataclass(frozen=True)
class _Noisy:
  """The decoder with given noise at hidden tokens."""

  decoder: ConvDecoder
  noise: jax.Array

  def __call__(self, params, tokens, keep_ids, length, rng, padding=None):
    filled = self.decoder.fill(tokens, keep_ids, length, None) + self.noise
    return self.decoder.decode(params, filled, padding)


@dataclasses.dataclass(frozen=True)
class WithNoise:
  """Data2Vec2 whose decoder takes its noise from the batch."""

  base: Data2Vec2

  def __getattr__(self, name):
    return getattr(self.base, name)

  def _of(self, batch):
    decoder = _Noisy(self.base.decoder, batch["noise"])
    return dataclasses.replace(self.base, decoder=decoder)

  def predictions(self, params, batch, rng):
    return self._of(batch).predictions(params, batch, rng)

  def loss(self, params, teacher_params, batch, rng):
    return self._of(batch).loss(params, teacher_params, batch, rng)


def v2(meta: dict, shapes: dict, dtype: str) -> fairseq.Case:
  """fairseq's data2vec_multi with one modality."""
  c = Options(meta["resolved_config"], inert.V2)
  modalities = {k: v for k, v in c["modalities"].items() if v}
  if len(modalities) != 1:
    c.skip("modalities", "ours has one at a time")
  (name,) = modalities
  m = Options(modalities[name], inert.V2_MODALITY, f"modalities.{name}.")
  if m["decoder"] is None:
    m.skip("decoder")
  d = m.section("decoder")
  c.off(*_OFF)
  m.off(*_OFF_MODALITY)
  d.off(*_OFF_DECODER)
  c.only("norm_affine", True)
  m.only("encoder_zero_mask", True)
  if not c["d2v_loss"]:
    c.skip("d2v_loss")
  encoder = _ENCODERS[name](c, m, meta, dtype)
  width = c["embed_dim"]
  scale = width**-0.5 if c["loss_scale"] is None else c["loss_scale"]
  # Theirs is a sum over rows; and d2v_loss is of the regression only.
  rows = meta["data"]["B"] * c["clone_batch"]
  objective = Data2Vec2(
    encoder=encoder,
    decoder=ConvDecoder(
      width=d["decoder_dim"],
      layers=d["decoder_layers"],
      kernel=d["decoder_kernel"],
      groups=d["decoder_groups"],
      residual=d["decoder_residual"],
      projection_layers=_projection(d, name),
      grid=encoder.grid,
      isolate_padding=False,
      positions=_decoder_positions(d),
      compute_dtype=dtype,
    ),
    ema=Ema(
      start=c["ema_decay"],
      end=c["ema_end_decay"],
      anneal_steps=c["ema_anneal_end_step"],
      tracked=_tracked(c, m, encoder),
    ),
    targets=Targets(
      top_k=c["average_top_k_layers"],
      output="block" if c["end_of_block_targets"] else "ffn",
      layer_norms=_norms(c, "norm_target_layer", "batch", "instance", "layer"),
      average_norms=_norms(c, "norm_targets", "layer", "instance"),
      norm_padding=True,
    ),
    loss_beta=c["loss_beta"],
    loss_scale=scale * c["d2v_loss"],
    cls_loss=c["cls_loss"] * rows / c["d2v_loss"],
    recon_loss=c["recon_loss"] / c["d2v_loss"],
    head=LinearHead(width, dtype) if c["recon_loss"] else None,
  )
  c.finish()
  m.finish()
  unused = [n for n in shapes if n.endswith(_FIXED)]

  def batch(step, dtype):
    return _batch(step, c["clone_batch"], name, dtype)

  names = Names(shapes, RULES, unused)
  return fairseq.Case(WithNoise(objective), names, batch)


def _batch(step, num_masks, name, dtype):
  mask = step["mask"].astype(bool)
  keep_ids = np.sort(step["ids_keep"], axis=1)
  out = {
    "inputs": step["input/source"],
    "mask": mask.reshape(-1, num_masks, mask.shape[1]),
    "keep_ids": keep_ids.reshape(-1, num_masks, keep_ids.shape[1]),
    "noise": step["decoder_noise_full"].astype(dtype),
  }
  if name == "image":
    out["inputs"] = out["inputs"].transpose(0, 2, 3, 1)
  if name != "text":
    out["inputs"] = out["inputs"].astype(dtype)
  if "feature_padding_mask" in step:
    out["padding"] = step["feature_padding_mask"].astype(bool)
  return out


def _projection(d, name):
  # Their 2-D decoder ignores the option.
  layers, ratio = d["projection_layers"], d["projection_ratio"]
  if name == "image" or layers == 1:
    return 1
  if ratio != 2:
    d.skip("projection_ratio")
  return layers


def _decoder_positions(d):
  if d["add_positions_all"]:
    d.off("add_positions_masked")
    return "all"
  return "hidden" if d["add_positions_masked"] else "none"


def _norms(c, suffix, *order):
  return tuple(n for n in order if c.get(f"{n}_{suffix}"))


def _tracked(c, m, encoder: Encoder) -> tuple[str, ...]:
  """Top-level sub-trees of the teacher."""
  local = m["ema_local_encoder"]
  if c["ema_encoder_only"]:
    return ("blocks",)
  module = encoder.module
  parts = {
    "cls_token": module.extra_tokens,
    "alibi_scale": module.alibi_scales,
    "positions": module.conv_positions,
    "prenet_norm": module.prenet_norm,
    "prenet": module.prenet_depth,
  }
  tracked = (*(k for k, v in parts.items() if v), "blocks")
  if not local:
    return tracked
  if m.get("max_source_positions"):
    m.skip("ema_local_encoder", "not in the reference for text")
  return (*encoder.feature_parts, *tracked)


def _encoder(constructor, c: Options, m: Options, **arguments) -> Encoder:
  """With the options that the constructor gives no name to."""
  encoder = constructor(
    width=c["embed_dim"],
    depth=c["depth"],
    num_heads=c["num_heads"],
    mlp_ratio=c["mlp_ratio"],
    prenet_depth=m["prenet_depth"],
    alibi=bool(m["use_alibi_encoder"]),
    **arguments,
  )
  changes = {
    "norm_eps": c["norm_eps"],
    "extra_tokens": m["num_extra_tokens"],
  }
  if m["use_alibi_encoder"]:
    m.only("learned_alibi_scale", True)
    m.only("num_alibi_heads", c["num_heads"])
    if not m["learned_alibi_scale_per_head"]:
      changes["alibi_scales"] = 1
  else:
    m.ignore(
      "there is no ALiBi",
      "learned_alibi_scale",
      "learned_alibi_scale_per_head",
      "num_alibi_heads",
      "alibi_dims",
      "alibi_distance",
    )
  return dataclasses.replace(encoder, module=encoder.module.clone(**changes))


def _image(c, m, meta, dtype):
  m.only("fixed_positions", True)
  m.only("local_grad_mult", 1)
  m.only("embed_dim", c["embed_dim"])
  if m["use_alibi_encoder"]:
    m.only("alibi_dims", 2)
    m.only("alibi_distance", "manhattan")
  return _encoder(
    visible_vit,
    c,
    m,
    image_size=m["input_size"],
    patch_size=m["patch_size"],
    compute_dtype=dtype,
  )


def _audio(c, m, meta, dtype):
  return _encoder(
    visible_speech,
    c,
    m,
    conv_layers=conv_layers(m["feature_encoder_spec"]),
    conv_norm=NORMS[m.only("extractor_mode", *NORMS)],
    feature_grad_scale=max(m["local_grad_mult"], 0.0),
    position_depth=m["conv_pos_depth"],
    position_width=m["conv_pos_width"],
    position_groups=m["conv_pos_groups"],
    isolate_padding=False,
    compute_dtype=dtype,
  )


def _text(c, m, meta, dtype):
  m.only("local_grad_mult", 1)
  return _encoder(
    visible_text,
    c,
    m,
    vocab_size=meta["data"]["vocab"],
    max_tokens=m["max_source_positions"],
    positions="learned" if m["learned_pos"] else "sinusoidal",
    scale_embedding=not m["no_scale_embedding"],
    embedding_norm=m["layernorm_embedding"],
    compute_dtype=dtype,
  )


_ENCODERS = {"image": _image, "audio": _audio, "text": _text}
