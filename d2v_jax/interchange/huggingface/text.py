"""Data2VecText of Hugging Face <-> our text encoder.

Source: the behaviour of transformers' Data2VecTextModel and
...ForSequenceClassification.
"""

from typing import Any

import numpy as np

from d2v_jax.data.layout import BOS, EOS, PAD
from d2v_jax.interchange.huggingface import names, text_tokenizer
from d2v_jax.interchange.huggingface.parts import (
  PROBLEMS,
  Incoming,
  Outgoing,
  Written,
  class_fields,
  classifier,
  refuse,
  require_settings,
  size_fields,
  sizes,
)
from d2v_jax.interchange.model import Foreign
from d2v_jax.interchange.options import Options
from d2v_jax.interchange.weights import Arrays, InterchangeError, to_torch
from d2v_jax.models.positions import sinusoidal_positions

MODEL_TYPE = "data2vec-text"
PREFIX = "data2vec_text"
BASE = "Data2VecTextModel"
_CLASSIFIER = "Data2VecTextForSequenceClassification"
# Objective -> architecture.
WITH_HEAD = dict.fromkeys(PROBLEMS, _CLASSIFIER)
# Architecture -> names of its head, if that is left out.
ARCHITECTURES = {
  BASE: None,
  _CLASSIFIER: None,
  "Data2VecTextForMaskedLM": r"lm_head\..*",
  "Data2VecTextForQuestionAnswering": r"qa_outputs\..*",
  "Data2VecTextForTokenClassification": r"classifier\..*",
  "Data2VecTextForMultipleChoice": r"classifier\..*",
}
# Of the fields that may have other values.
DEFAULTS: dict[str, Any] = {
  "vocab_size": 30522,
  "hidden_size": 768,
  "num_hidden_layers": 12,
  "num_attention_heads": 12,
  "intermediate_size": 3072,
  "hidden_dropout_prob": 0.1,
  "attention_probs_dropout_prob": 0.1,
  "max_position_embeddings": 512,
  "type_vocab_size": 2,
  "layer_norm_eps": 1e-12,
}
_WORDS = "embeddings.word_embeddings.weight"
_TYPES = "embeddings.token_type_embeddings.weight"


def read(theirs: Incoming) -> Foreign:
  """Reads a text model.

  The embedding of the first token type, which all tokens have, is added to the
  words' (but not to that of padding): the sums that the network computes are
  then the same ones, bit for bit.

  Raises:
    InterchangeError: a field changes the numbers in a way that we have not.
  """
  config = theirs.config
  encoder = _encoder(config)
  data, files, notes = text_tokenizer.read(theirs.folder, encoder["vocab_size"])
  types = config.integer("type_vocab_size", least=1)
  arrays, more = _without_types(theirs.arrays, types)
  notes += more
  objective = {}
  if theirs.architecture.endswith("ForSequenceClassification"):
    name, outputs = classifier(config)
    head = dict(num_outputs=outputs, pool="first", hidden=True)
    objective = dict(name=name, head=head)
    data |= class_fields(config)
  if any(name.startswith("pooler.") for name in arrays):
    notes.append("the pooler was left out: it is no part of the encoder")
  return Foreign(
    modality="text",
    encoder=encoder,
    objective=objective,
    arrays=arrays,
    rules=names.text(),
    unused=(r"pooler\..*",),
    data=data,
    files=files,
    notes=tuple(notes),
  )


def write(ours: Outgoing) -> Written:
  """Writes a text model.

  Fixed positions become learned ones, and words are scaled where the encoder
  does it.

  Raises:
    InterchangeError: a setting cannot be expressed.
  """
  encoder, head, params = ours.encoder, ours.head, dict(ours.params)
  why = "models there have a norm of their embeddings and after each branch"
  require_settings("encoder", encoder, why, embedding_norm=True, pre_norm=False)
  why = "tokens are of one type there, and their ids are RoBERTa's"
  require_settings("encoder", encoder, why, token_types=1)
  if text_tokenizer.is_foreign(ours.model.files):
    raise refuse("data.tokenizer", ours.model.data.get("tokenizer"), why)
  width, max_tokens = encoder["width"], encoder["max_tokens"]
  rows = max_tokens + PAD + 1
  if encoder["positions"] == "sinusoidal":
    table = sinusoidal_positions(rows, width)
    table[PAD] = 0.0
    params["position_embedding"] = table
  if encoder["scale_embedding"]:
    words = np.asarray(params["feature_encoder"]["embedding"])
    words = words * np.float32(width**0.5)
    params["feature_encoder"] = {"embedding": words}
  arrays = to_torch(params, names.text())
  # All tokens are of the one type, which adds nothing.
  arrays[_TYPES] = np.zeros((1, width), np.float32)
  labels: dict[str, Any] = {}
  notes: tuple[str, ...] = ()
  if head is None:
    # Data2VecTextModel would draw a pooler at random.
    arrays["pooler.dense.weight"] = np.eye(width, dtype=np.float32)
    arrays["pooler.dense.bias"] = np.zeros(width, np.float32)
    notes = ("`pooler_output` is only tanh of the first token; do not use it.",)
  else:
    why = "a classifier there is two maps of the first token"
    require_settings(
      "objective.head", vars(head), why, pool="first", hidden=True, norm=False
    )
    labels = dict(classifier_dropout=0.0)
  config = dict(
    vocab_size=encoder["vocab_size"],
    **size_fields(encoder, round(width * encoder["mlp_ratio"])),
    hidden_dropout_prob=encoder["dropout"],
    attention_probs_dropout_prob=encoder["attention_dropout"],
    max_position_embeddings=rows,
    type_vocab_size=1,
    pad_token_id=PAD,
    bos_token_id=BOS,
    eos_token_id=EOS,
    is_decoder=False,
    **labels,
  )
  files = text_tokenizer.write(ours.model.files, max_tokens)
  return Written(config, arrays, files, notes)


def _encoder(config: Options) -> dict[str, Any]:
  config.require("hidden_act", "gelu")
  config.require("is_decoder", False)
  config.require("add_cross_attention", False)
  config.require("position_embedding_type", "absolute")
  config.require("pad_token_id", PAD)
  positions = config.integer("max_position_embeddings", least=PAD + 2)
  return sizes(config) | dict(
    name="text",
    vocab_size=config.integer("vocab_size", least=EOS + 1, most=1 << 24),
    max_tokens=positions - PAD - 1,
    dropout=config.rate("hidden_dropout_prob"),
    attention_dropout=config.rate("attention_probs_dropout_prob"),
  )


def _without_types(arrays: Arrays, count: int) -> tuple[Arrays, list[str]]:
  """The words with their type in them, and notes."""
  arrays = dict(arrays)
  types, words = (arrays.get(name, np.zeros(0)) for name in (_TYPES, _WORDS))
  if types.ndim != 2 or words.ndim != 2 or len(words) <= PAD:
    raise InterchangeError(
      f"{_TYPES} {list(types.shape)} and {_WORDS} {list(words.shape)} must be "
      "two tables; nothing was loaded."
    )
  if types.shape != (count, words.shape[1]):
    raise InterchangeError(
      f"{_TYPES} is {list(types.shape)}, expected {[count, words.shape[1]]}; "
      "nothing was loaded."
    )
  del arrays[_TYPES]
  if types[0].any():
    padding = words[PAD].copy()
    arrays[_WORDS] = words + types[0]
    arrays[_WORDS][PAD] = padding
  if types[1:].any():
    return arrays, [f"{count - 1} more token types were left out"]
  return arrays, []
