"""fairseq's data2vec_audio, pretrained, and fine-tuned by CTC (wav2vec_ctc)."""

from typing import Any

import jax
import jax.numpy as jnp

from d2v_jax.data.labels import LETTERS
from d2v_jax.interchange import fairseq_names, literals
from d2v_jax.interchange.assembly import Foreign
from d2v_jax.interchange.fairseq_parts import (
  LICENCE,
  Checkpoint,
  data2vec_objective,
  size,
  without,
)
from d2v_jax.interchange.options import Options

_ENCODER = "w2v_encoder.w2v_model."
_PROJ = "w2v_encoder.proj."
# <s> (the blank), <pad>, </s>, <unk>.
_SPECIALS = 4
_LAYERS = "[(512, 10, 5)] + [(512, 3, 2)] * 4 + [(512, 2, 2)] * 2"
# Longer than any sentence; only labels that are longer are an error.
_MAX_LABELS = 1024


def read(checkpoint: Checkpoint) -> Foreign:
  """Reads a pretrained or fine-tuned speech model."""
  if any(name.startswith("w2v_encoder.") for name in checkpoint.arrays):
    return _fine_tuned(checkpoint)
  c = checkpoint.model
  checkpoint.require_name(c, "data2vec_audio")
  notes = _normalisation(checkpoint, checkpoint.task)
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
      target="ffn",
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
    notes=(*notes, *_left_out(c), LICENCE),
  )


def _fine_tuned(checkpoint):
  outer = checkpoint.model
  checkpoint.require_name(outer, "wav2vec_ctc")
  checkpoint.require_known(_ENCODER, _PROJ)
  # The pretrained model's whole configuration; of old files its options only.
  c = outer.section("w2v_args").inner("model")
  checkpoint.require_name(c, "data2vec_audio")
  notes = _normalisation(checkpoint, checkpoint.task)
  encoder = _encoder(checkpoint, c, outer, _ENCODER)
  arrays = without(_ENCODER, checkpoint.arrays)
  objective, data = {}, {}
  if not checkpoint.encoder_only:
    rows, letters, said = _letters(checkpoint, outer)
    head = without(_PROJ, checkpoint.arrays)
    # One that lacks rows is left as it is, for its shape to be named as wrong.
    arrays |= {
      f"proj.{k}": v[rows] if len(v) > max(rows) else v for k, v in head.items()
    }
    notes += said
    objective = {"name": "ctc", "head": {"num_outputs": len(rows)}}
    data["labels"] = {
      "name": "letters",
      "letters": letters,
      "case": _case(letters),
      "max_length": _MAX_LABELS,
    }
  return _foreign(
    encoder,
    objective,
    arrays,
    data=data,
    description="data2vec_audio of fairseq, fine-tuned by CTC",
    notes=(*notes, *_left_out(outer), LICENCE),
  )


def _foreign(encoder, objective, arrays, **rest):
  samples = 1
  for _, kernel, stride in reversed(encoder["conv_layers"]):
    samples = (samples - 1) * stride + kernel
  return Foreign(
    modality="speech",
    encoder=encoder,
    objective=objective,
    inputs=jax.ShapeDtypeStruct((1, samples), jnp.float32),
    arrays=arrays,
    rules=fairseq_names.SPEECH,
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
  hidden = size(checkpoint, f"{prefix}encoder.layers.0.fc1.weight", 0)
  fine_tuned = training is not c
  rate = 0.0 if fine_tuned else 0.1
  text = c.text("conv_feature_layers", _LAYERS)
  return {
    "conv_layers": literals.conv_layers(text, f"{c.where}.conv_feature_layers"),
    "conv_norm": c.choice(
      "extractor_mode", "default", {"default": "group", "layer_norm": "layer"}
    ),
    "conv_bias": c.flag("conv_bias", False),
    "feature_grad_scale": training.number(
      "feature_grad_mult", 0.0 if fine_tuned else 1.0
    ),
    "width": width,
    "depth": c.integer("encoder_layers", 12, least=1, most=1000),
    "num_heads": c.integer("encoder_attention_heads", 12, least=1),
    "mlp_ratio": hidden / width,
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


def _normalisation(checkpoint, task):
  if task.flag("normalize", True):
    return []
  what = "it was trained on audio as it is, and ours is normalised"
  if not checkpoint.encoder_only:
    raise task.error(
      "normalize", f"{what}; the encoder alone can be imported (encoder_only)"
    )
  return [f"task.normalize=False: {what}: do not feed it through our data"]


def _left_out(c):
  """Says which of the options that act in training only have no like here."""
  for name in ("dropout_input", "dropout_features", "final_dropout"):
    if c.number(name, 0.0):
      yield f"{name}={c.values[name]} is left out; it acts in training only"


def _letters(checkpoint, c):
  """Rows of the head for blank and letters, the letters, and what to say."""
  c.require("blank_weight", 0)
  outputs = size(checkpoint, f"{_PROJ}weight", 0)
  symbols = checkpoint.symbols("target_dictionary", "dict.ltr.txt")
  notes = []
  if symbols is None:
    if outputs != _SPECIALS + len(LETTERS):
      raise checkpoint.error(
        f"its head has {outputs} outputs, and nothing says for which letters; "
        "give fairseq's dict.ltr.txt (dictionary)"
      )
    symbols = list(LETTERS)
    notes.append(
      "no dictionary was found: the 32 outputs are taken for <s>, <pad>, </s>, "
      f"<unk> and {LETTERS}, as in fairseq's dictionary of LibriSpeech"
    )
  if outputs != _SPECIALS + len(symbols):
    raise checkpoint.error(
      f"its head has {outputs} outputs, but the dictionary has {len(symbols)} "
      f"symbols beside {_SPECIALS} special ones; they do not belong together"
    )
  kept = {
    symbol: _SPECIALS + i
    for i, symbol in enumerate(symbols)
    if not symbol.startswith("madeupword")
  }
  wrong = [s for s in kept if len(s) != 1 or s.isspace()]
  if wrong or "|" not in kept:
    raise checkpoint.error(
      "only letters can be imported, '|' among them, but its dictionary has "
      f"{', '.join(map(repr, (wrong or list(kept))[:8]))}; the encoder alone "
      "can be imported (encoder_only)"
    )
  notes.append(
    f"{outputs - len(kept) - 1} outputs of the head are cut, which no "
    "transcript has (<pad>, </s>, <unk>)"
  )
  return [0, *kept.values()], "".join(kept), notes


def _case(letters: str) -> str | None:
  if letters == letters.upper():
    return "upper"
  return "lower" if letters == letters.lower() else None
