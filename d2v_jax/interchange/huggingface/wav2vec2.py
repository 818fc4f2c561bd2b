"""wav2vec 2.0 of Hugging Face <-> our speech encoder, Base and Large layouts.

Base has a group norm in its first convolution and norms after each branch;
Large has layer norms in all convolutions and norms before each branch.

Source: the behaviour of transformers' Wav2Vec2Model and its heads.
"""

import dataclasses
from typing import Any

from d2v_jax.interchange.huggingface import names, speech
from d2v_jax.interchange.huggingface.parts import (
  Incoming,
  Outgoing,
  Written,
)
from d2v_jax.interchange.model import Foreign
from d2v_jax.interchange.options import Options

MODEL_TYPE = "wav2vec2"
PREFIX = "wav2vec2"
BASE = "Wav2Vec2Model"


def _named(architecture: str) -> str:
  return architecture.replace("Data2VecAudio", "Wav2Vec2")


# Objective -> architecture.
WITH_HEAD = {name: _named(x) for name, x in speech.WITH_HEAD.items()}
# Architecture -> names of its head, if that is left out.
ARCHITECTURES = {
  _named(name): head for name, head in speech.ARCHITECTURES.items()
} | {"Wav2Vec2ForPreTraining": r"(quantizer|project_q|project_hid)\..*"}
DEFAULTS: dict[str, Any] = {
  k: v for k, v in speech.DEFAULTS.items() if k != "conv_pos_kernel_size"
} | {
  "feat_extract_norm": "group",
  "do_stable_layer_norm": False,
  "num_conv_pos_embeddings": 128,
}
# Names in files -> those that newer versions of the library have in memory.
RENAMED = {
  r"conv\.weight_g$": "conv.parametrizations.weight.original0",
  r"conv\.weight_v$": "conv.parametrizations.weight.original1",
}


def read(theirs: Incoming) -> Foreign:
  """Reads a model.

  Raises:
    InterchangeError: a field changes the numbers in a way that we have not.
  """
  config = theirs.config
  # Layers of another kind between those of one language's model.
  config.require("adapter_attn_dim", None)
  # HuBERT may have other positions, and no norm of its frames.
  config.require("conv_pos_batch_norm", None, False)
  config.require("feat_proj_layer_norm", None, True)
  rules = (*names.wav2vec2(), *names.OLDER_POSITIONS)
  return speech.read_as(theirs, _encoder(config), rules)


def write(ours: Outgoing) -> Written:
  """Writes a model; HuBERT, which is the same network, by this name, too.

  Raises:
    InterchangeError: a setting cannot be expressed.
  """
  encoder = ours.encoder
  config = dict(
    feat_extract_norm=encoder["conv_norm"],
    do_stable_layer_norm=encoder["pre_norm"],
    num_conv_pos_embeddings=encoder["position_width"],
  )
  written = speech.write_as(ours, config, names.wav2vec2())
  if encoder["conv_norm"] == "layer":
    return written
  note = (
    "Padded batches: the norm of the first convolution counts padding. Encode "
    "recordings one by one, or in batches of one length."
  )
  return dataclasses.replace(written, notes=(note,))


def _encoder(config: Options) -> dict[str, Any]:
  norms = {"group": "group", "layer": "layer"}
  kernel = config.integer("num_conv_pos_embeddings", least=1, most=4096)
  return speech.frames_and_layers(config) | dict(
    conv_norm=config.choice("feat_extract_norm", "group", norms),
    position_depth=1,
    position_width=kernel,
    pre_norm=config.flag("do_stable_layer_norm"),
  )
