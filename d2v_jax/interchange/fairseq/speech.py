"""fairseq's data2vec_audio, pretrained, and fine-tuned by CTC (wav2vec_ctc)."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from d2v_jax.interchange.fairseq import ctc, literals, names
from d2v_jax.interchange.fairseq.checkpoint import (
  LICENCE,
  Checkpoint,
  data2vec_objective,
  mlp_ratio,
  without,
)
from d2v_jax.interchange.model import Foreign
from d2v_jax.interchange.options import Options

_ENCODER = "w2v_encoder.w2v_model."
LAYERS = "[(512, 10, 5)] + [(512, 3, 2)] * 4 + [(512, 2, 2)] * 2"


def read(checkpoint: Checkpoint) -> Foreign:
  """Reads a pretrained or fine-tuned speech model."""
  if any(name.startswith("w2v_encoder.") for name in checkpoint.arrays):
    return _fine_tuned(checkpoint)
  c = checkpoint.model
  checkpoint.require_name(c, "data2vec_audio")
  notes = normalisation(checkpoint, checkpoint.task)
  tracked = ("norm", "blocks")
  if not c.flag("ema_layers_only", True):
    tracked = ("positions", *tracked)
    c.require("ema_transformer_only", True)
  teacher = {
    f"encoder.{name}": value
    for name, value in checkpoint.averages.get("_ema", {}).items()
    if "positions" in tracked or not name.startswith("pos_conv.")
  }
  objective = {}
  if not checkpoint.encoder_only:
    c.require("group_norm_target_layer", False)
    scale = c.number("loss_scale", None)
    objective = data2vec_objective(
      c,
      output="ffn",
      head={"layers": 1, "initial": "torch"},
      tracked=tracked,
      loss_scale="rsqrt" if scale is None else scale,
    )
  return _foreign(
    _encoder(checkpoint, c, c, ""),
    objective,
    checkpoint.arrays,
    teacher=teacher,
    tracked=tracked,
    unused=(r"final_proj\..*",) if checkpoint.encoder_only else (),
    description="data2vec_audio of fairseq, pretrained",
    notes=(*notes, *left_out(c), LICENCE),
  )


def _fine_tuned(checkpoint):
  outer = checkpoint.model
  checkpoint.require_name(outer, "wav2vec_ctc")
  checkpoint.require_known(_ENCODER, ctc.PROJ)
  # The pretrained model's whole configuration; of old files its options only.
  c = outer.section("w2v_args").inner("model")
  checkpoint.require_name(c, "data2vec_audio")
  notes = normalisation(checkpoint, checkpoint.task)
  encoder = _encoder(checkpoint, c, outer, _ENCODER)
  arrays = without(_ENCODER, checkpoint.arrays)
  objective, data = {}, {}
  if not checkpoint.encoder_only:
    head, objective, data, said = ctc.read_head(checkpoint, outer)
    arrays |= head
    notes += said
  return _foreign(
    encoder,
    objective,
    arrays,
    data=data,
    description="data2vec_audio of fairseq, fine-tuned by CTC",
    notes=(*notes, *left_out(outer), LICENCE),
  )


def one_frame(encoder: dict[str, Any]) -> jax.ShapeDtypeStruct:
  """The shortest input [1, T] of `speech` with these arguments."""
  samples = 1
  for _, kernel, stride in reversed(encoder["conv_layers"]):
    samples = (samples - 1) * stride + kernel
  return jax.ShapeDtypeStruct((1, samples), jnp.float32)


def _foreign(encoder, objective, arrays, **rest):
  return Foreign(
    modality="speech",
    encoder=encoder,
    objective=objective,
    inputs=one_frame(encoder),
    arrays=arrays,
    rules=names.SPEECH,
    **rest,
  )


def _encoder(
  checkpoint: Checkpoint, c: Options, training: Options, prefix: str
) -> dict[str, Any]:
  """Arguments of `speech`: sizes of the model, rates of the last training."""
  for name, value in (
    ("layer_type", "transformer"),
    ("activation_fn", "gelu"),
    ("attn_type", ""),
    ("pos_enc_type", "abs"),
    ("crop_seq_to_multiple", 1),
  ):
    c.require(name, value)
  width = c.integer("encoder_embed_dim", 768, least=1)
  fc1 = f"{prefix}encoder.layers.0.fc1.weight"
  fine_tuned = training is not c
  rate = 0.0 if fine_tuned else 0.1
  text = c.text("conv_feature_layers", LAYERS)
  return {
    "conv_layers": literals.conv_layers(text, f"{c.where}.conv_feature_layers"),
    "conv_norm": c.choice(
      "extractor_mode", "default", {"default": "group", "layer_norm": "layer"}
    ),
    "conv_bias": c.flag("conv_bias", False),
    "feature_grad_scale": training.number(
      "feature_grad_mult", 0.0 if fine_tuned else 1.0
    ),
    "name": "speech",
    "width": width,
    "depth": c.integer("encoder_layers", 12, least=1, most=1000),
    "num_heads": c.integer("encoder_attention_heads", 12, least=1),
    "mlp_ratio": mlp_ratio(checkpoint, fc1, width),
    "position_depth": c.integer("pos_conv_depth", 1, least=1, most=100),
    "position_width": c.integer("conv_pos", 128, least=1),
    "position_groups": c.integer("conv_pos_groups", 16, least=1),
    # As the reference computes: padding leaks into its neighbours.
    "isolate_padding": False,
    "pre_norm": c.flag("layer_norm_first", False),
    "dropout": training.number("dropout", rate),
    "attention_dropout": training.number("attention_dropout", rate),
    "activation_dropout": training.number("activation_dropout", 0.0),
    "layer_drop": training.number(
      "layerdrop" if fine_tuned else "encoder_layerdrop", 0.0
    ),
  }


def normalisation(checkpoint: Checkpoint, task: Options) -> list[str]:
  """What to say about audio that was not normalised, an error if it matters."""
  if task.flag("normalize", True):
    return []
  what = "it was trained on audio as it is, and ours is normalised"
  if not checkpoint.encoder_only:
    raise task.error(
      "normalize", f"{what}; the encoder alone can be imported (encoder_only)"
    )
  return [f"task.normalize=False: {what}: do not feed it through our data"]


def left_out(c: Options) -> Iterator[str]:
  """Says which of the options that act in training only have no like here."""
  for name in ("dropout_input", "dropout_features", "final_dropout"):
    if c.number(name, 0.0):
      yield f"{name}={c.values[name]} is left out; it acts in training only"
