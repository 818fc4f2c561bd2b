"""BERT of Hugging Face -> our text encoder, with its tokens in our order.

Source: the behaviour of transformers' BertModel and its heads.
"""

from typing import Any

import numpy as np

from d2v_jax.data.layout import PAD, UNK
from d2v_jax.interchange.huggingface import bert_tokenizer, names, text
from d2v_jax.interchange.huggingface.parts import (
  Incoming,
  class_fields,
  classifier,
  sizes,
)
from d2v_jax.interchange.model import Foreign
from d2v_jax.interchange.options import Options
from d2v_jax.interchange.weights import Arrays, InterchangeError

MODEL_TYPE = "bert"
PREFIX = "bert"
BASE = "BertModel"
_CLASSIFIER = "BertForSequenceClassification"
_PRETRAINING = r"cls\..*"
# Architecture -> names of its head, if that is left out.
ARCHITECTURES = {
  BASE: None,
  _CLASSIFIER: None,
  "BertForMaskedLM": _PRETRAINING,
  "BertForNextSentencePrediction": _PRETRAINING,
  "BertForPreTraining": _PRETRAINING,
  "BertForMultipleChoice": r"classifier\..*",
  "BertForQuestionAnswering": r"qa_outputs\..*",
  "BertForTokenClassification": r"classifier\..*",
}
DEFAULTS = text.DEFAULTS
_EMBEDDINGS = "embeddings."
_WORDS = f"{_EMBEDDINGS}word_embeddings.weight"
_POSITIONS = f"{_EMBEDDINGS}position_embeddings.weight"
_TYPES = f"{_EMBEDDINGS}token_type_embeddings.weight"


def read(theirs: Incoming) -> Foreign:
  """Reads a BERT.

  Special tokens have fixed ids here, so the rows of the embedding are put into
  another order, as the tokenizer's ids are. Positions begin two rows later.

  Raises:
    InterchangeError: a field changes the numbers in a way that we have not, or
      there is no tokenizer that says which tokens are special.
  """
  config = theirs.config
  encoder = _encoder(config)
  found = bert_tokenizer.read(theirs.folder)
  if len(found.order) != encoder["vocab_size"]:
    raise config.error(
      "vocab_size", f"the folder's tokenizer has {len(found.order)} tokens"
    )
  notes = ["tokens were put into another order, special ones first"]
  objective: dict[str, Any] = {}
  data: dict[str, Any] = {"tokenizer": {"path": bert_tokenizer.FOLDER}}
  if theirs.architecture == _CLASSIFIER:
    name, outputs = classifier(config)
    head = dict(num_outputs=outputs, pool="first", hidden=True)
    objective = dict(name=name, head=head)
    data |= class_fields(config)
  elif any(name.startswith("pooler.") for name in theirs.arrays):
    notes.append("the pooler was left out: it is no part of the encoder")
  return Foreign(
    modality="text",
    encoder=encoder,
    objective=objective,
    arrays=_ours(theirs.arrays, found.order, encoder["token_types"]),
    rules=names.bert(),
    unused=() if objective else (r"pooler\..*",),
    data=data,
    files=found.files,
    notes=tuple(notes),
  )


def _encoder(config: Options) -> dict[str, Any]:
  config.require("hidden_act", "gelu")
  config.require("is_decoder", False)
  config.require("add_cross_attention", False)
  config.require("position_embedding_type", "absolute")
  return sizes(config) | dict(
    name="text",
    vocab_size=config.integer("vocab_size", least=UNK + 2, most=1 << 24),
    max_tokens=config.integer("max_position_embeddings", least=3),
    token_types=config.integer("type_vocab_size", least=1, most=1 << 10),
    dropout=config.rate("hidden_dropout_prob"),
    attention_dropout=config.rate("attention_probs_dropout_prob"),
  )


def _ours(arrays: Arrays, order: list[int], types: int) -> Arrays:
  """Embeddings as our network has them."""
  arrays = dict(arrays)
  tables = {name: arrays.get(name) for name in (_WORDS, _POSITIONS, _TYPES)}
  for name, table in tables.items():
    if table is None or table.ndim != 2:
      shape = None if table is None else list(table.shape)
      raise InterchangeError(
        f"{name} must be a table, got {shape}; nothing was loaded."
      )
  words = arrays[_WORDS]
  if len(words) == len(order):
    arrays[_WORDS] = words = words[order]
  positions = arrays[_POSITIONS]
  unused = np.zeros((PAD + 1, positions.shape[1]), positions.dtype)
  arrays[_POSITIONS] = np.concatenate([unused, positions])
  if types == 1:  # all tokens have it
    padding = words[PAD].copy()
    arrays[_WORDS] = words + arrays.pop(_TYPES)[0]
    arrays[_WORDS][PAD] = padding
  return arrays
