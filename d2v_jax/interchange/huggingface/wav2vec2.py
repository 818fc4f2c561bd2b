"""wav2vec 2.0 of Hugging Face -> our speech encoder, Base and Large layouts.

Base has a group norm in its first convolution and norms after each branch;
Large has layer norms in all convolutions and norms before each branch.

Source: the behaviour of transformers' Wav2Vec2Model and its heads.
"""

from typing import Any

from d2v_jax.interchange.huggingface import names, speech
from d2v_jax.interchange.huggingface.parts import Incoming
from d2v_jax.interchange.model import Foreign
from d2v_jax.interchange.options import Options

MODEL_TYPE = "wav2vec2"
PREFIX = "wav2vec2"
BASE = "Wav2Vec2Model"
# Architecture -> names of its head, if that is left out.
ARCHITECTURES = {
  name.replace("Data2VecAudio", "Wav2Vec2"): head
  for name, head in speech.ARCHITECTURES.items()
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
  return speech.read_as(theirs, _encoder(config), names.wav2vec2())


def _encoder(config: Options) -> dict[str, Any]:
  norms = {"group": "group", "layer": "layer"}
  kernel = config.integer("num_conv_pos_embeddings", least=1, most=4096)
  return speech.frames_and_layers(config) | dict(
    conv_norm=config.choice("feat_extract_norm", "group", norms),
    position_depth=1,
    position_width=kernel,
    pre_norm=config.flag("do_stable_layer_norm"),
  )
