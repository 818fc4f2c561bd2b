"""Data2VecAudio of Hugging Face <-> our speech encoder.

Source: the behaviour of transformers' Data2VecAudioModel, ...ForCTC and
...ForSequenceClassification.
"""

import math
from typing import Any

import numpy as np

from d2v_jax import config as config_lib
from d2v_jax.data.labels import LABELS
from d2v_jax.interchange.huggingface import (
  audio_processor,
  ctc,
  names,
  preprocessor,
)
from d2v_jax.interchange.huggingface.parts import (
  PROBLEMS,
  Incoming,
  Outgoing,
  Written,
  class_fields,
  classifier,
  require_settings,
  size_fields,
  sizes,
)
from d2v_jax.interchange.model import Foreign
from d2v_jax.interchange.options import Options
from d2v_jax.interchange.weights import Arrays, Rule, linear, to_torch

MODEL_TYPE = "data2vec-audio"
PREFIX = "data2vec_audio"
BASE = "Data2VecAudioModel"
_CTC = "Data2VecAudioForCTC"
_CLASSIFIER = "Data2VecAudioForSequenceClassification"
# Objective -> architecture.
WITH_HEAD = {"ctc": _CTC, **dict.fromkeys(PROBLEMS, _CLASSIFIER)}
# Architecture -> names of its head, if that is left out.
ARCHITECTURES = {
  BASE: None,
  _CTC: None,
  _CLASSIFIER: None,
  "Data2VecAudioForAudioFrameClassification": r"(layer_weights|classifier\..*)",
  "Data2VecAudioForXVector": (
    r"(layer_weights|projector\..*|tdnn\..*|feature_extractor\.(weight|bias)|"
    r"classifier\..*|objective\..*)"
  ),
}
# Of the fields that may have other values.
DEFAULTS: dict[str, Any] = {
  "vocab_size": 32,
  "hidden_size": 768,
  "num_hidden_layers": 12,
  "num_attention_heads": 12,
  "intermediate_size": 3072,
  "hidden_dropout": 0.1,
  "activation_dropout": 0.1,
  "attention_dropout": 0.1,
  "feat_proj_dropout": 0.0,
  "final_dropout": 0.1,
  "layerdrop": 0.1,
  "layer_norm_eps": 1e-5,
  "conv_dim": [512] * 7,
  "conv_stride": [5, 2, 2, 2, 2, 2, 2],
  "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
  "conv_bias": False,
  "num_conv_pos_embedding_groups": 16,
  "conv_pos_kernel_size": 19,
  "num_conv_pos_embeddings": 5,
  "classifier_proj_size": 256,
  "pad_token_id": 0,
}
_HEADS = {
  "ForCTC": linear("lm_head", "head/fc1"),
  "ForSequenceClassification": linear("classifier", "head/fc1"),
}
# Samples from one frame to the next.
_LONGEST_STRIDE = 1 << 20


def read(theirs: Incoming) -> Foreign:
  """Reads a speech model.

  Raises:
    InterchangeError: a field changes the numbers in a way that we have not.
  """
  return read_as(theirs, _encoder(theirs.config), names.speech())


def read_as(
  theirs: Incoming, encoder: dict[str, Any], rules: tuple[Rule, ...]
) -> Foreign:
  """Reads a model whose heads are those of speech models.

  Args:
    theirs: the model.
    encoder: arguments of ours.
    rules: of its names, without a head.

  Raises:
    InterchangeError: a field changes the numbers in a way that we have not.
  """
  config, arrays = theirs.config, theirs.arrays
  data, notes = audio_processor.read(theirs.folder)
  notes += [
    f"{name}={config[name]} acts in training only, and not here"
    for name in ("feat_proj_dropout", "final_dropout")
    if config.rate(name)
  ]
  objective, head = {}, _head(theirs.architecture)
  if head == "ForCTC":
    columns, labels, more = ctc.read(config, theirs.folder)
    notes += more
    data |= {"labels": labels} if labels else {}
    objective = dict(name="ctc", head=dict(num_outputs=len(columns)))
    arrays = ctc.chosen(arrays, columns, config.integer("vocab_size"))
  elif head:
    config.require("use_weighted_layer_sum", False)
    name, outputs = classifier(config)
    objective = dict(name=name, head=dict(num_outputs=outputs))
    data |= class_fields(config)
    arrays = _as_one_map(arrays)
  masked = "masked_spec_embed" in arrays
  if not masked:
    notes.append("it has no mask vector: ours is zero until it is trained")
  return Foreign(
    modality="speech",
    encoder=encoder,
    objective=objective,
    arrays=arrays,
    rules=(*rules, *_HEADS.get(head, ())),
    absent=() if masked else ("mask_token",),
    data=data,
    notes=tuple(notes),
  )


def write(ours: Outgoing) -> Written:
  """Writes a speech model.

  Raises:
    InterchangeError: a setting cannot be expressed.
  """
  encoder, depth = ours.encoder, ours.encoder["position_depth"]
  why = "models there have norms in all convolutions and after each branch"
  require_settings("encoder", encoder, why, conv_norm="layer", pre_norm=False)
  positions = dict(
    conv_pos_kernel_size=max(3, encoder["position_width"] // depth),
    num_conv_pos_embeddings=depth,
  )
  return write_as(ours, positions, names.speech())


def write_as(
  ours: Outgoing, fields: dict[str, Any], rules: tuple[Rule, ...]
) -> Written:
  """Writes a model whose heads are those of speech models.

  Args:
    ours: the model.
    fields: of config.json, that not all such models have alike.
    rules: of its names, without a head.

  Raises:
    InterchangeError: a setting cannot be expressed.
  """
  encoder, head = ours.encoder, ours.head
  notes = []
  if encoder["isolate_padding"]:
    notes.append(
      "Padded batches: transformers lets padding leak into the positions of "
      "the last second of an utterance, which training did not "
      "(isolate_padding). Encode utterances one by one, or in batches of one "
      "length, for the same numbers."
    )
  kind = _head(ours.architecture)
  rules = (*rules, *_HEADS.get(kind, ()))
  arrays, labels = to_torch(ours.params, rules), {}
  if kind == "ForCTC":
    labels = {"vocab_size": head.num_outputs}
  elif kind:
    why = "a classifier there is a linear map of the mean"
    require_settings(
      "objective.head", vars(head), why, pool="mean", hidden=False, norm=False
    )
    # There, a linear map comes before the mean: one that changes nothing.
    width = encoder["width"]
    arrays["projector.weight"] = np.eye(width, dtype=np.float32)
    arrays["projector.bias"] = np.zeros(width, np.float32)
    labels = {"classifier_proj_size": width}
  channels, kernels, strides = zip(*encoder["conv_layers"], strict=True)
  config = dict(
    **size_fields(encoder, round(encoder["width"] * encoder["mlp_ratio"])),
    hidden_dropout=encoder["dropout"],
    activation_dropout=encoder["activation_dropout"],
    attention_dropout=encoder["attention_dropout"],
    feat_proj_dropout=0.0,
    final_dropout=0.0,
    layerdrop=encoder["layer_drop"],
    feat_extract_activation="gelu",
    conv_dim=channels,
    conv_kernel=kernels,
    conv_stride=strides,
    conv_bias=encoder["conv_bias"],
    num_conv_pos_embedding_groups=encoder["position_groups"],
    mask_time_prob=0.05,  # above zero, or there would be no mask vector
    add_adapter=False,
    use_weighted_layer_sum=False,
    # Output 0 is the blank, and the others are characters.
    pad_token_id=0,
    bos_token_id=None,
    eos_token_id=None,
    **fields,
    **labels,
  )
  files = {preprocessor.NAME: audio_processor.write()}
  spec = ours.model.data.get("labels")
  if kind == "ForCTC" and spec:
    characters = config_lib.build(spec, LABELS, "config.data.labels")
    files |= ctc.write(characters)
  return Written(config, arrays, files, tuple(notes))


def _head(architecture: str) -> str:
  """How the name ends if the head comes along, else ''."""
  return next((end for end in _HEADS if architecture.endswith(end)), "")


def _encoder(config: Options) -> dict[str, Any]:
  # A single one would be wav2vec 2.0's network, which ours is then.
  depth = config.integer("num_conv_pos_embeddings", least=2, most=64)
  kernel = config.integer("conv_pos_kernel_size", least=3, most=4096)
  return frames_and_layers(config) | dict(
    position_depth=depth, position_width=kernel * depth
  )


def frames_and_layers(config: Options) -> dict[str, Any]:
  """Arguments of `speech` that all such models have: convolutions, layers.

  Raises:
    InterchangeError: a field changes the numbers in a way that we have not.
  """
  for name in ("hidden_act", "feat_extract_activation"):
    config.require(name, "gelu")
  config.require("add_adapter", False)
  channels = config.integers("conv_dim", 1 << 16)
  kernels = config.integers("conv_kernel", 1 << 12)
  strides = config.integers("conv_stride", 1 << 12)
  for name, values in (("conv_kernel", kernels), ("conv_stride", strides)):
    if len(values) != len(channels):
      what = f"it must be {len(channels)} numbers, as in conv_dim"
      raise config.error(name, what)
  if math.prod(strides) > _LONGEST_STRIDE:
    what = f"it must be strides with a product of at most {_LONGEST_STRIDE}"
    raise config.error("conv_stride", what)
  return sizes(config) | dict(
    name="speech",
    conv_layers=tuple(zip(channels, kernels, strides, strict=True)),
    conv_bias=config.flag("conv_bias"),
    position_groups=config.integer("num_conv_pos_embedding_groups", least=1),
    isolate_padding=False,
    dropout=config.rate("hidden_dropout"),
    attention_dropout=config.rate("attention_dropout"),
    activation_dropout=config.rate("activation_dropout"),
    layer_drop=config.rate("layerdrop"),
  )


def _as_one_map(arrays: Arrays) -> Arrays:
  """projector and classifier as one linear map after the mean over time.

  They have a mean and nothing else between them. A projector that changes
  nothing leaves the classifier as it is, bit for bit.
  """
  arrays = dict(arrays)
  names_of_maps = [
    f"{name}.{part}"
    for name in ("projector", "classifier")
    for part in ("weight", "bias")
  ]
  if not arrays.keys() >= {*names_of_maps}:
    return arrays  # what lacks will be named
  inner, inner_bias, outer, outer_bias = (arrays[n] for n in names_of_maps)
  shapes = (inner.ndim, outer.ndim, inner_bias.shape)
  if shapes != (2, 2, inner.shape[:1]) or outer.shape[1] != inner.shape[0]:
    return arrays
  del arrays["projector.weight"], arrays["projector.bias"]
  plain = np.array_equal(inner, np.eye(*inner.shape)) and not inner_bias.any()
  if not plain:
    inner, inner_bias = (x.astype(np.float64) for x in (inner, inner_bias))
    bias = outer @ inner_bias + outer_bias
    arrays["classifier.weight"] = (outer @ inner).astype(np.float32)
    arrays["classifier.bias"] = bias.astype(np.float32)
  return arrays
