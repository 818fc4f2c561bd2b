"""fairseq's data2vec_audio, pretrained, and fine-tuned by CTC (wav2vec_ctc)."""

from collections.abc import Iterator
from typing import Any

from d2v_jax.data.labels import CHARACTERS
from d2v_jax.interchange.fairseq import literals, names
from d2v_jax.interchange.fairseq.checkpoint import (
  LICENCE,
  Checkpoint,
  data2vec_objective,
  without,
)
from d2v_jax.interchange.model import Foreign, character_labels
from d2v_jax.interchange.options import Options
from d2v_jax.interchange.weights import Arrays

CTC_HEAD = "w2v_encoder.proj."
LAYERS = "[(512, 10, 5)] + [(512, 3, 2)] * 4 + [(512, 2, 2)] * 2"
CONV_NORMS = {"default": "group", "layer_norm": "layer"}
_ENCODER = "w2v_encoder.w2v_model."
# <s> (the blank), <pad>, </s>, <unk>.
_SPECIALS = 4


def read(checkpoint: Checkpoint) -> Foreign:
  """Reads a pretrained or fine-tuned speech model."""
  if any(name.startswith("w2v_encoder.") for name in checkpoint.arrays):
    return _fine_tuned(checkpoint)
  c = checkpoint.model
  checkpoint.require_name(c, "data2vec_audio")
  notes = normalisation(checkpoint)
  tracked: tuple[str, ...] = ("norm", "blocks")
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
    head = {"layers": 1, "initial": "torch"}
    objective = data2vec_objective(c, output="ffn", head=head, tracked=tracked)
  return Foreign(
    modality="speech",
    encoder=_encoder(checkpoint, c, c, ""),
    objective=objective,
    arrays=checkpoint.arrays,
    rules=names.SPEECH,
    teacher=teacher,
    tracked=tracked,
    unused=(r"final_proj\..*",) if checkpoint.encoder_only else (),
    description="data2vec_audio of fairseq, pretrained",
    notes=(*notes, *left_out(c), LICENCE),
  )


def _fine_tuned(checkpoint: Checkpoint) -> Foreign:
  outer = checkpoint.model
  checkpoint.require_name(outer, "wav2vec_ctc")
  checkpoint.require_known(_ENCODER, CTC_HEAD)
  # The pretrained model's whole configuration; of old files its options only.
  c = outer.section("w2v_args").inner("model")
  checkpoint.require_name(c, "data2vec_audio")
  notes = normalisation(checkpoint)
  encoder = _encoder(checkpoint, c, outer, _ENCODER)
  head, objective, data, more = ctc_head(checkpoint, outer)
  return Foreign(
    modality="speech",
    encoder=encoder,
    objective=objective,
    arrays=without(_ENCODER, checkpoint.arrays) | head,
    rules=names.SPEECH,
    data=data,
    description="data2vec_audio of fairseq, fine-tuned by CTC",
    notes=(*notes, *more, *left_out(outer), LICENCE),
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
  rate, grad_scale = (0.0, 0.0) if fine_tuned else (0.1, 1.0)
  layer_drop = "layerdrop" if fine_tuned else "encoder_layerdrop"
  text = c.text("conv_feature_layers", LAYERS)
  return {
    "conv_layers": literals.conv_layers(text, f"{c.where}.conv_feature_layers"),
    "conv_norm": c.choice("extractor_mode", "default", CONV_NORMS),
    "conv_bias": c.flag("conv_bias", False),
    "feature_grad_scale": training.number("feature_grad_mult", grad_scale),
    "name": "speech",
    "width": width,
    "depth": c.integer("encoder_layers", 12, least=1, most=1000),
    "num_heads": c.integer("encoder_attention_heads", 12, least=1),
    "mlp_ratio": checkpoint.mlp_ratio(fc1, width),
    "position_depth": c.integer("pos_conv_depth", 1, least=1, most=100),
    "position_width": c.integer("conv_pos", 128, least=1),
    "position_groups": c.integer("conv_pos_groups", 16, least=1),
    # As the reference computes: padding leaks into its neighbours.
    "isolate_padding": False,
    "pre_norm": c.flag("layer_norm_first", False),
    "dropout": training.number("dropout", rate),
    "attention_dropout": training.number("attention_dropout", rate),
    "activation_dropout": training.number("activation_dropout", 0.0),
    "layer_drop": training.number(layer_drop, 0.0),
  }


def ctc_head(
  checkpoint: Checkpoint, c: Options
) -> tuple[Arrays, dict[str, Any], dict[str, Any], list[str]]:
  """What a model fine-tuned by CTC has besides its network, where it is wanted.

  Args:
    checkpoint: the whole file.
    c: options of the model.

  Returns:
    Weights of blank and characters; config.objective; config.data; and what to
    say about them.
  """
  if checkpoint.encoder_only:
    return {}, {}, {}, []
  c.require("blank_weight", 0)
  outputs = checkpoint.size(f"{CTC_HEAD}weight", 0)
  symbols = checkpoint.symbols("target_dictionary", "dict.ltr.txt")
  notes = []
  if symbols is None:
    if outputs != _SPECIALS + len(CHARACTERS):
      raise checkpoint.error(
        f"its head has {outputs} outputs, and nothing says for which "
        "characters; give fairseq's dict.ltr.txt (dictionary)"
      )
    symbols = list(CHARACTERS)
    notes.append(
      "no dictionary was found: the 32 outputs are taken for <s>, <pad>, </s>, "
      f"<unk> and {CHARACTERS}, as in fairseq's dictionary of LibriSpeech"
    )
  if outputs != _SPECIALS + len(symbols):
    raise checkpoint.error(
      f"its head has {outputs} outputs, but the dictionary has {len(symbols)} "
      f"symbols beside {_SPECIALS} special ones; they do not belong together"
    )
  numbered = enumerate(symbols, _SPECIALS)
  kept = {s: i for i, s in numbered if not s.startswith("madeupword")}
  wrong = [s for s in kept if len(s) != 1 or s.isspace()]
  if wrong or "|" not in kept:
    raise checkpoint.error(
      "only characters can be imported, '|' among them, but its dictionary has "
      f"{', '.join(map(repr, (wrong or list(kept))[:8]))}; the encoder alone "
      "can be imported (encoder_only)"
    )
  notes.append(
    f"{outputs - len(kept) - 1} outputs of the head are cut, which no "
    "transcript has (<pad>, </s>, <unk>)"
  )
  rows = [0, *kept.values()]
  # One that lacks rows is left as it is, for its shape to be named as wrong.
  arrays = {
    f"proj.{k}": v[rows] if len(v) > max(rows) else v
    for k, v in without(CTC_HEAD, checkpoint.arrays).items()
  }
  objective = {"name": "ctc", "head": {"num_outputs": len(rows)}}
  return arrays, objective, {"labels": character_labels("".join(kept))}, notes


def normalisation(checkpoint: Checkpoint) -> list[str]:
  """What to say about audio that was not normalised, an error if it matters."""
  if checkpoint.task.flag("normalize", True):
    return []
  what = "it was trained on audio as it is, and ours is normalised"
  if not checkpoint.encoder_only:
    raise checkpoint.task.error(
      "normalize", f"{what}; the encoder alone can be imported (encoder_only)"
    )
  return [f"task.normalize=False: {what}: do not feed it through our data"]


def left_out(c: Options) -> Iterator[str]:
  """Says which of the options that act in training only have no like here."""
  for name in ("dropout_input", "dropout_features", "final_dropout"):
    if c.number(name, 0.0):
      yield f"{name}={c[name]} is left out; it acts in training only"
