"""data2vec 2.0 of text, pretrained, and fine-tuned on a classification."""

import dataclasses
import re
from typing import Any

from d2v_jax.interchange.fairseq import data2vec2, names
from d2v_jax.interchange.fairseq.checkpoint import LICENCE, Checkpoint
from d2v_jax.interchange.fairseq.text import (
  classification_heads,
  fine_tuning,
  longest_input,
  tokenizer_files,
)
from d2v_jax.interchange.model import Foreign
from d2v_jax.interchange.weights import Arrays

_AROUND = ("model.", "data2vec_text_classification", "pretrained_model_args")
_HEADS = "classification_heads."


def read(checkpoint: Checkpoint) -> Foreign:
  """Reads a pretrained or fine-tuned model of text."""
  model = data2vec2.find(checkpoint, "TEXT", _AROUND)
  encoder, notes = _encoder(model)
  files, data, more = tokenizer_files(checkpoint, encoder["vocab_size"])
  notes += more
  if model.m.flag("ema_local_encoder", False):
    raise model.m.error("ema_local_encoder", "text has only False")
  network = data2vec2.network(model, "text", encoder, ())
  head: Arrays = {}
  objective: dict[str, Any] = {}
  kind = network.description
  if model.pretrained:
    objective = data2vec2.objective(model, network.tracked)
    data = {**data, "mask": _mask(model)}
    if encoder["dropout"]:
      notes.append(
        "the teacher has no dropout here; there, that of the student's "
        "embedding was in its input"
      )
  elif model.outer is not None:
    model.whole.require_known(_AROUND[0], _HEADS)
    model.outer.require("pooler_activation_fn", "tanh")
    model.outer.require("spectral_norm_classification_head", False)
    _, heads = classification_heads(model.whole.arrays)
    objective, head, which = fine_tuning(model.whole, heads)
    kind = f"{kind}, {which}" if head else kind
  # Buffers of sines and cosines.
  buffers = re.escape(f"{model.prefix}local_encoder.embed_positions.")
  return dataclasses.replace(
    network,
    objective=objective,
    arrays=network.arrays | head,
    rules=(*network.rules, *names.SENTENCE_HEAD),
    unused=(*network.unused, rf"{buffers}(_float_tensor|weights)"),
    data=data,
    files=files,
    description=kind,
    notes=(*notes, LICENCE),
  )


def _encoder(model: data2vec2.Multi) -> tuple[dict[str, Any], list[str]]:
  """Arguments of `text`, and what to say about them."""
  c, m, checkpoint = model.c, model.m, model.checkpoint
  m.require("no_token_positional_embeddings", False)
  m.require("num_extra_tokens", 0)
  m.require("local_grad_mult", 1)
  embedding_norm = m.flag("layernorm_embedding", True)
  if embedding_norm:
    data2vec2.check_norm_eps(model)
  local = f"{model.prefix}local_encoder."
  learned = m.flag("learned_pos", True)
  max_tokens = m.integer("max_source_positions", 512, least=1, most=2**16)
  if learned:
    max_tokens = longest_input(checkpoint, f"{local}embed_positions.weight")
  dropout = c.number("encoder_dropout", 0.1)
  notes = [
    *data2vec2.other_rates(
      c,
      {
        "post_mlp_drop": (0.1, dropout),
        "dropout_input": (0.0, 0.0),
        "layerdrop": (0.0, 0.0),
      },
    ),
    *data2vec2.other_rates(m, {"dropout": (0.1, dropout)}),
  ]
  if m.integer("prenet_depth", 4):
    prenet = {"prenet_dropout": (0.0, dropout), "prenet_layerdrop": (0.0, 0.0)}
    notes += data2vec2.other_rates(m, prenet)
  return data2vec2.encoder(model) | {
    "name": "visible_text",
    "vocab_size": checkpoint.size(f"{local}embed_tokens.weight", 0),
    "max_tokens": max_tokens,
    "positions": "learned" if learned else "sinusoidal",
    "scale_embedding": not m.flag("no_scale_embedding", True),
    "embedding_norm": embedding_norm,
    "norm_eps": c.number("norm_eps", 1e-6),
    "dropout": dropout,
    "attention_dropout": c.number("attention_dropout", 0.1),
    "activation_dropout": c.number("activation_dropout", 0.0),
  }, notes


def _mask(model: data2vec2.Multi) -> dict[str, Any]:
  """config.data.mask."""
  model.m.require("mask_length", 1)
  return {"name": "random_tokens", **data2vec2.mask(model)}
