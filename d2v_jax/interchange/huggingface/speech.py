"""Data2VecAudio of Hugging Face <-> our speech encoder.

Source: the behaviour of transformers' Data2VecAudioModel, ...ForCTC and
...ForSequenceClassification.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp

from d2v_jax import config as config_lib
from d2v_jax.data.labels import LABELS
from d2v_jax.data.speech.decoding import SAMPLE_RATE
from d2v_jax.interchange.files import Folder, to_json
from d2v_jax.interchange.huggingface import ctc, names
from d2v_jax.interchange.huggingface import speech_heads as heads
from d2v_jax.interchange.huggingface.fields import Fields
from d2v_jax.interchange.huggingface.parts import (
  BUFFERS,
  Outgoing,
  refuse,
)
from d2v_jax.interchange.model import Foreign, Imported
from d2v_jax.interchange.weights import Arrays, to_torch
from d2v_jax.models.heads import LinearHead

MODEL_TYPE = "data2vec-audio"
PREFIX = "data2vec_audio"
BASE = "Data2VecAudioModel"
_CTC = "Data2VecAudioForCTC"
_CLASSIFIER = "Data2VecAudioForSequenceClassification"
# Architecture -> names of its head, which is left out.
_LEFT_OUT = {
  "Data2VecAudioForAudioFrameClassification": r"(layer_weights|classifier\..*)",
  "Data2VecAudioForXVector": (
    r"(layer_weights|projector\..*|tdnn\..*|feature_extractor\.(weight|bias)|"
    r"classifier\..*|objective\..*)"
  ),
}
ARCHITECTURES = (BASE, _CTC, _CLASSIFIER, *_LEFT_OUT)
DEFAULTS = {
  "vocab_size": 32,
  "hidden_size": 768,
  "num_hidden_layers": 12,
  "num_attention_heads": 12,
  "intermediate_size": 3072,
  "hidden_act": "gelu",
  "hidden_dropout": 0.1,
  "activation_dropout": 0.1,
  "attention_dropout": 0.1,
  "feat_proj_dropout": 0.0,
  "final_dropout": 0.1,
  "layerdrop": 0.1,
  "layer_norm_eps": 1e-5,
  "feat_extract_activation": "gelu",
  "conv_dim": [512] * 7,
  "conv_stride": [5, 2, 2, 2, 2, 2, 2],
  "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
  "conv_bias": False,
  "num_conv_pos_embedding_groups": 16,
  "conv_pos_kernel_size": 19,
  "num_conv_pos_embeddings": 5,
  "use_weighted_layer_sum": False,
  "classifier_proj_size": 256,
  "pad_token_id": 0,
  "add_adapter": False,
}
_PREPROCESSOR = "preprocessor_config.json"
_PREPROCESSING = {
  "feature_size": 1,
  "sampling_rate": SAMPLE_RATE,
  "padding_side": "right",
  "do_normalize": True,
}
# Samples from one frame to the next; the batch that shapes come from has two.
_LONGEST_STRIDE = 1 << 20


def read(
  fields: Fields, architecture: str, arrays: Arrays, folder: Folder
) -> Foreign:
  """Reads a speech model.

  Args:
    fields: config.json.
    architecture: one of ARCHITECTURES.
    arrays: weights without the model's prefix.
    folder: for preprocessor_config.json and vocab.json.

  Raises:
    InterchangeError: a field changes the numbers in a way that we have not.
  """
  encoder = _encoder(fields)
  _check_preprocessing(folder)
  notes = [
    f"{name}={fields[name]} acts in training only, and not here"
    for name in ("feat_proj_dropout", "final_dropout")
    if fields.rate(name)
  ]
  objective, data, head, unused = {}, {}, (), [*BUFFERS]
  if architecture == _CTC:
    columns, labels, more = ctc.read(fields, folder)
    notes += more
    data = {"labels": labels} if labels else {}
    objective = dict(name="ctc", head=dict(num_outputs=len(columns)))
    head = heads.CTC
    arrays = heads.choose(arrays, columns, fields.integer("vocab_size"))
  elif architecture == _CLASSIFIER:
    fields.only("use_weighted_layer_sum", False)
    name, outputs = fields.classifier()
    objective = dict(name=name, head=dict(num_outputs=outputs))
    head = heads.CLASSIFIER
    arrays = heads.as_one_map(arrays)
  elif architecture in _LEFT_OUT:
    unused.append(_LEFT_OUT[architecture])
    notes.append(f"the head of {architecture} was left out: ours has none such")
  absent = ()
  if "masked_spec_embed" not in arrays:
    absent = ("mask_token",)
    notes.append("it has no mask vector: ours is zero until it is trained")
  samples = 2
  for _, kernel, stride in reversed(encoder["conv_layers"]):
    samples = (samples - 1) * stride + kernel
  return Foreign(
    modality="speech",
    encoder=encoder,
    objective=objective,
    inputs=jax.ShapeDtypeStruct((1, samples), jnp.float32),
    arrays=arrays,
    rules=(*names.speech(), *head),
    unused=tuple(unused),
    absent=absent,
    data=data,
    notes=tuple(notes),
  )


def write(
  model: Imported,
  encoder: dict[str, Any],
  head: Any,
  params: dict[str, Any],
) -> Outgoing:
  """Writes a speech model.

  Args:
    model: with `data`, for the characters of a CTC model.
    encoder: all arguments of `speech`.
    head: the supervised objective's head, or None.
    params: of the encoder, and `head` if there is one.

  Raises:
    InterchangeError: a setting cannot be expressed.
  """
  depth = encoder["position_depth"]
  for name, allowed, why in (
    ("conv_norm", encoder["conv_norm"] == "layer", "only 'layer' is there"),
    ("pre_norm", not encoder["pre_norm"], "models there are post-norm"),
    ("position_depth", depth > 1, "a single layer there is another network"),
  ):
    if not allowed:
      raise refuse(f"encoder.{name}", encoder[name], why)
  notes = []
  if encoder["isolate_padding"]:
    notes.append(
      "Padded batches: transformers lets padding leak into the positions of "
      "the last second of an utterance, which training did not "
      "(isolate_padding). Encode utterances one by one, or in batches of one "
      "length, for the same numbers."
    )
  arrays = to_torch(params, (*names.speech(), *heads.rules(head)))
  architecture, labels = BASE, {}
  if head is not None:
    architecture = _CTC if isinstance(head, LinearHead) else _CLASSIFIER
    arrays, labels = heads.write(head, arrays, PREFIX, encoder["width"])
  channels, kernels, strides = zip(*encoder["conv_layers"], strict=True)
  config = dict(
    architectures=[architecture],
    model_type=MODEL_TYPE,
    hidden_size=encoder["width"],
    num_hidden_layers=encoder["depth"],
    num_attention_heads=encoder["num_heads"],
    intermediate_size=round(encoder["width"] * encoder["mlp_ratio"]),
    hidden_act="gelu",
    hidden_dropout=encoder["dropout"],
    activation_dropout=encoder["activation_dropout"],
    attention_dropout=encoder["attention_dropout"],
    feat_proj_dropout=0.0,
    final_dropout=0.0,
    layerdrop=encoder["layer_drop"],
    initializer_range=0.02,
    layer_norm_eps=encoder["norm_eps"],
    feat_extract_activation="gelu",
    conv_dim=channels,
    conv_kernel=kernels,
    conv_stride=strides,
    conv_bias=encoder["conv_bias"],
    num_conv_pos_embedding_groups=encoder["position_groups"],
    conv_pos_kernel_size=max(3, encoder["position_width"] // depth),
    num_conv_pos_embeddings=depth,
    mask_time_prob=0.05,  # above zero, or there would be no mask vector
    add_adapter=False,
    use_weighted_layer_sum=False,
    # Output 0 is the blank, and the others are characters.
    pad_token_id=0,
    bos_token_id=None,
    eos_token_id=None,
    **labels,
  )
  made, spec = {}, model.data.get("labels")
  if architecture == _CTC and spec:
    characters = config_lib.build(spec, LABELS, "config.data.labels")
    made = ctc.write(characters)
  made[_PREPROCESSOR] = to_json(
    dict(
      _PREPROCESSING,
      feature_extractor_type="Wav2Vec2FeatureExtractor",
      padding_value=0.0,
      return_attention_mask=True,
    )
  )
  return Outgoing(config, arrays, made, tuple(notes))


def _encoder(fields):
  for name in ("hidden_act", "feat_extract_activation"):
    fields.only(name, "gelu")
  fields.only("add_adapter", False)
  sizes = [
    fields.integers(name, most)
    for name, most in (
      ("conv_dim", 1 << 16),
      ("conv_kernel", 1 << 12),
      ("conv_stride", 1 << 12),
    )
  ]
  for name, found in zip(
    ("conv_kernel", "conv_stride"), sizes[1:], strict=True
  ):
    if len(found) != len(sizes[0]):
      raise fields.error(name, f"{len(sizes[0])} numbers, as in conv_dim")
  if math.prod(sizes[2]) > _LONGEST_STRIDE:
    what = f"strides with a product of at most {_LONGEST_STRIDE}"
    raise fields.error("conv_stride", what)
  width = fields.integer("hidden_size")
  # A single one would be wav2vec 2.0's network, which ours is then.
  depth = fields.integer("num_conv_pos_embeddings", 2, 64)
  kernel = fields.integer("conv_pos_kernel_size", 3, 4096)
  return dict(
    name="speech",
    conv_layers=tuple(zip(*sizes, strict=True)),
    conv_bias=fields.flag("conv_bias"),
    width=width,
    depth=fields.integer("num_hidden_layers", 1, 1000),
    num_heads=fields.integer("num_attention_heads"),
    mlp_ratio=fields.integer("intermediate_size") / width,
    position_depth=depth,
    position_width=kernel * depth,
    position_groups=fields.integer("num_conv_pos_embedding_groups"),
    isolate_padding=False,
    norm_eps=fields.number("layer_norm_eps", 1.0),
    dropout=fields.rate("hidden_dropout"),
    attention_dropout=fields.rate("attention_dropout"),
    activation_dropout=fields.rate("activation_dropout"),
    layer_drop=fields.rate("layerdrop"),
  )


def _check_preprocessing(folder):
  if folder.has(_PREPROCESSOR):
    source = str(folder.path / _PREPROCESSOR)
    fields = Fields(folder.json(_PREPROCESSOR), _PREPROCESSING, source)
    for name, value in _PREPROCESSING.items():
      fields.only(name, value)
