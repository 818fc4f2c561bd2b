"""data2vec 2.0 of speech, pretrained, and fine-tuned by CTC (wav2vec_ctc)."""

import dataclasses
from typing import Any

from d2v_jax.interchange.fairseq import data2vec2, literals, names
from d2v_jax.interchange.fairseq.checkpoint import LICENCE, Checkpoint
from d2v_jax.interchange.fairseq.speech import (
  CONV_NORMS,
  CTC_HEAD,
  LAYERS,
  ctc_head,
  left_out,
  normalisation,
)
from d2v_jax.interchange.model import Foreign
from d2v_jax.interchange.weights import Arrays

_AROUND = ("w2v_encoder.w2v_model.", "wav2vec_ctc", "w2v_args")


def read(checkpoint: Checkpoint) -> Foreign:
  """Reads a pretrained or fine-tuned model of speech."""
  model = data2vec2.find(checkpoint, "AUDIO", _AROUND)
  m, outer = model.m, model.outer
  encoder, notes = _encoder(model)
  notes = [*normalisation(checkpoint), *notes]
  averaged: tuple[str, ...] = ("positions",)
  if m.flag("ema_local_encoder", False):
    averaged = ("feature_encoder", "feature_projection", *averaged)
  network = data2vec2.network(model, "speech", encoder, averaged)
  head: Arrays = {}
  objective: dict[str, Any] = {}
  data: dict[str, Any] = {}
  if model.pretrained:
    # What is hidden is 0 where positions are computed.
    m.require("encoder_zero_mask", True)
    objective = data2vec2.objective(model, network.tracked)
    data = {"mask": _mask(model)}
  elif outer is not None:
    model.whole.require_known(_AROUND[0], CTC_HEAD)
    head, objective, data, more = ctc_head(model.whole, outer)
    notes += more
  return dataclasses.replace(
    network,
    objective=objective,
    arrays=network.arrays | head,
    rules=(*network.rules, *names.CTC_HEAD),
    data=data,
    notes=(*notes, *left_out(model.c if outer is None else outer), LICENCE),
  )


def _encoder(model: data2vec2.Multi) -> tuple[dict[str, Any], list[str]]:
  """Arguments of `speech`, and what to say about them."""
  c, m, outer = model.c, model.m, model.outer
  data2vec2.check_norm_eps(model)
  m.require("conv_pos_pre_ln", False)
  m.require("num_extra_tokens", 0)
  if outer is None:
    dropout = c.number("encoder_dropout", 0.1)
    layer_drop = c.number("layerdrop", 0.0)
    grad_scale = m.number("local_grad_mult", 1.0)
    notes = [
      *data2vec2.other_rates(c, {"post_mlp_drop": (0.1, dropout)}),
      *data2vec2.other_rates(m, {"prenet_dropout": (0.0, dropout)}),
    ]
    if m.integer("prenet_depth", 4):
      prenet = {"prenet_layerdrop": (0.0, layer_drop)}
      notes += data2vec2.other_rates(m, prenet)
    rates, usual = c, 0.1
  else:
    # These are set in fine-tuning, for all parts alike.
    dropout = outer.number("dropout", 0.0)
    layer_drop = outer.number("layerdrop", 0.0)
    grad_scale = outer.number("feature_grad_mult", 0.0)
    rates, usual, notes = outer, 0.0, []
  activation_dropout = rates.number("activation_dropout", 0.0)
  if activation_dropout:
    notes.append(
      f"activation_dropout={activation_dropout} acts once here, after the "
      "GELU, and there once more behind it; it acts in training only"
    )
  text = m.text("feature_encoder_spec", LAYERS)
  return data2vec2.encoder(model) | {
    "name": "visible_speech",
    "conv_layers": literals.conv_layers(
      text, f"{m.where}.feature_encoder_spec"
    ),
    "conv_norm": m.choice("extractor_mode", "layer_norm", CONV_NORMS),
    "feature_grad_scale": max(grad_scale, 0.0),
    "position_depth": m.integer("conv_pos_depth", 5, least=1, most=100),
    "position_width": m.integer("conv_pos_width", 95, least=1),
    "position_groups": m.integer("conv_pos_groups", 16, least=1),
    # As the reference computes: padding leaks into its neighbours.
    "isolate_padding": False,
    "dropout": dropout,
    "attention_dropout": rates.number("attention_dropout", usual),
    "activation_dropout": activation_dropout,
    "layer_drop": layer_drop,
  }, notes


def _mask(model: data2vec2.Multi) -> dict[str, Any]:
  """config.data.mask."""
  spec, m = data2vec2.mask(model), model.m
  m.require("inverse_mask", False)
  return {
    "name": "frame_blocks",
    **spec,
    "adjust": m.number("mask_prob_adjust", 0.0),
    "length": m.integer("mask_length", 5, least=1),
  }
