"""Data2VecText of Hugging Face <-> our text encoder.

Source: the behaviour of transformers' Data2VecTextModel and
...ForSequenceClassification.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from d2v_jax.data.layout import BOS, EOS, PAD
from d2v_jax.interchange.files import Folder
from d2v_jax.interchange.huggingface import names, tokenizer_files
from d2v_jax.interchange.huggingface.fields import Fields
from d2v_jax.interchange.huggingface.parts import (
  BUFFERS,
  Outgoing,
  prefixed,
  refuse,
)
from d2v_jax.interchange.model import Foreign, Imported
from d2v_jax.interchange.weights import Arrays, InterchangeError, to_torch
from d2v_jax.models.positions import sinusoidal_positions

MODEL_TYPE = "data2vec-text"
PREFIX = "data2vec_text"
BASE = "Data2VecTextModel"
_CLASSIFIER = "Data2VecTextForSequenceClassification"
# Architecture -> names of its head, which is left out.
_LEFT_OUT = {
  "Data2VecTextForMaskedLM": r"lm_head\..*",
  "Data2VecTextForQuestionAnswering": r"qa_outputs\..*",
  "Data2VecTextForTokenClassification": r"classifier\..*",
  "Data2VecTextForMultipleChoice": r"classifier\..*",
}
ARCHITECTURES = (BASE, _CLASSIFIER, *_LEFT_OUT)
DEFAULTS = {
  "vocab_size": 30522,
  "hidden_size": 768,
  "num_hidden_layers": 12,
  "num_attention_heads": 12,
  "intermediate_size": 3072,
  "hidden_act": "gelu",
  "hidden_dropout_prob": 0.1,
  "attention_probs_dropout_prob": 0.1,
  "max_position_embeddings": 512,
  "type_vocab_size": 2,
  "layer_norm_eps": 1e-12,
  "pad_token_id": PAD,
  "is_decoder": False,
  "add_cross_attention": False,
  "position_embedding_type": "absolute",
}
_WORDS = "embeddings.word_embeddings.weight"
_TYPES = "embeddings.token_type_embeddings.weight"


def read(
  fields: Fields, architecture: str, arrays: Arrays, folder: Folder
) -> Foreign:
  """Reads a text model.

  The embedding of the first token type, which all tokens have, is added to the
  words' (but not to that of padding): the sums that the network computes are
  then the same ones, bit for bit.

  Args:
    fields: config.json.
    architecture: one of ARCHITECTURES.
    arrays: weights without the model's prefix.
    folder: for the tokenizer.

  Raises:
    InterchangeError: a field changes the numbers in a way that we have not.
  """
  encoder = _encoder(fields)
  data, files, notes = tokenizer_files.read(folder, encoder["vocab_size"])
  arrays, more = _without_types(arrays, fields.integer("type_vocab_size"))
  notes += more
  objective, unused = {}, [*BUFFERS, r"pooler\..*"]
  if architecture == _CLASSIFIER:
    name, outputs = fields.classifier()
    head = dict(num_outputs=outputs, pool="first", hidden=True)
    objective = dict(name=name, head=head)
  elif architecture in _LEFT_OUT:
    unused.append(_LEFT_OUT[architecture])
    notes.append(f"the head of {architecture} was left out: ours has none such")
  if any(name.startswith("pooler.") for name in arrays):
    notes.append("the pooler was left out: it is no part of the encoder")
  return Foreign(
    modality="text",
    encoder=encoder,
    objective=objective,
    inputs=jax.ShapeDtypeStruct((1, 1), jnp.int32),
    arrays=arrays,
    rules=names.text(),
    unused=tuple(unused),
    data=data,
    files=files,
    notes=tuple(notes),
  )


def write(
  model: Imported,
  encoder: dict[str, Any],
  head: Any,
  params: dict[str, Any],
) -> Outgoing:
  """Writes a text model.

  Fixed positions become learned ones, and words are scaled where the encoder
  does it.

  Args:
    model: with `files` of the tokenizer.
    encoder: all arguments of `text`.
    head: the supervised objective's head, or None.
    params: of the encoder, and `head` if there is one.

  Raises:
    InterchangeError: a setting cannot be expressed.
  """
  for name, wanted, why in (
    ("embedding_norm", True, "models there normalise their embeddings"),
    ("pre_norm", False, "models there have their norms after each branch"),
  ):
    if encoder[name] != wanted:
      raise refuse(f"encoder.{name}", encoder[name], why)
  width, max_tokens = encoder["width"], encoder["max_tokens"]
  rows = max_tokens + PAD + 1
  params = dict(params)
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
  labels, notes = {}, ()
  if head is None:
    # Data2VecTextModel would draw a pooler at random.
    arrays["pooler.dense.weight"] = np.eye(width, dtype=np.float32)
    arrays["pooler.dense.bias"] = np.zeros(width, np.float32)
    notes = ("`pooler_output` is only tanh of the first token; do not use it.",)
  else:
    _check_head(head)
    arrays = prefixed(arrays, PREFIX, ("classifier.",))
    labels = dict(classifier_dropout=0.0)
  config = dict(
    architectures=[BASE if head is None else _CLASSIFIER],
    model_type=MODEL_TYPE,
    vocab_size=encoder["vocab_size"],
    hidden_size=width,
    num_hidden_layers=encoder["depth"],
    num_attention_heads=encoder["num_heads"],
    intermediate_size=round(width * encoder["mlp_ratio"]),
    hidden_act="gelu",
    hidden_dropout_prob=encoder["dropout"],
    attention_probs_dropout_prob=encoder["attention_dropout"],
    max_position_embeddings=rows,
    type_vocab_size=1,
    initializer_range=0.02,
    layer_norm_eps=encoder["norm_eps"],
    pad_token_id=PAD,
    bos_token_id=BOS,
    eos_token_id=EOS,
    is_decoder=False,
    **labels,
  )
  made = tokenizer_files.write(model.files, max_tokens)
  return Outgoing(config, arrays, made, notes)


def _encoder(fields):
  fields.only("hidden_act", "gelu")
  fields.only("is_decoder", False)
  fields.only("add_cross_attention", False)
  fields.only("position_embedding_type", "absolute")
  fields.only("pad_token_id", PAD)
  width = fields.integer("hidden_size")
  return dict(
    name="text",
    vocab_size=fields.integer("vocab_size", EOS + 1, 1 << 24),
    max_tokens=fields.integer("max_position_embeddings", PAD + 2) - PAD - 1,
    width=width,
    depth=fields.integer("num_hidden_layers", 1, 1000),
    num_heads=fields.integer("num_attention_heads"),
    mlp_ratio=fields.integer("intermediate_size") / width,
    norm_eps=fields.number("layer_norm_eps", 1.0),
    dropout=fields.rate("hidden_dropout_prob"),
    attention_dropout=fields.rate("attention_probs_dropout_prob"),
  )


def _without_types(arrays, count):
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


def _check_head(head):
  for field, wanted in (("pool", "first"), ("hidden", True), ("norm", False)):
    value = getattr(head, field)
    if value != wanted:
      raise refuse(
        f"objective.head.{field}",
        value,
        f"a classifier there would need {wanted!r}",
      )
