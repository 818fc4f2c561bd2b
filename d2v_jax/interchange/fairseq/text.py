"""fairseq's data2vec_text, pretrained, and fine-tuned on a classification."""

import dataclasses
import re
from typing import Any

import jax
import jax.numpy as jnp

from d2v_jax.data.layout import PAD
from d2v_jax.data.text import tokenizer
from d2v_jax.interchange.fairseq import names
from d2v_jax.interchange.fairseq.checkpoint import (
  LICENCE,
  Checkpoint,
  data2vec_objective,
  mlp_ratio,
  size,
)
from d2v_jax.interchange.model import Foreign
from d2v_jax.interchange.options import Options
from d2v_jax.interchange.weights import Arrays, InterchangeError

_ENCODER = "encoder.sentence_encoder."
_HEADS = re.compile(r"classification_heads\.([^.]+)\.(.+)")
# Buffers, and parts of older versions of the same code.
_UNUSED = (
  r"encoder\.target_model\..*",
  r"encoder\.sentence_encoder\.version",
  r"encoder\.sentence_encoder\.embed_positions\.(_float_tensor|weights)",
)
_REGRESSION_HEAD = r"encoder\.regression_head\..*"
# Where they are beside the run.
_FOLDER = "tokenizer"
_BPE = ("dict.txt", "encoder.json", "vocab.bpe")


def read(checkpoint: Checkpoint) -> Foreign:
  """Reads a pretrained or fine-tuned text model."""
  c = checkpoint.model
  checkpoint.require_name(c, "data2vec_text")
  if "transformer" not in c:
    raise checkpoint.error(f"{c.where} has no section 'transformer'")
  checkpoint = dataclasses.replace(
    checkpoint,
    arrays=_current(checkpoint.arrays),
    averages=_current(checkpoint.averages),
  )
  encoder = _encoder(checkpoint, c.section("transformer"))
  arrays, heads = classification_heads(checkpoint.arrays)
  files, data, notes = tokenizer_files(checkpoint, encoder["vocab_size"])
  rest = {"data": data, "files": files, "unused": (*_UNUSED, _REGRESSION_HEAD)}
  if heads:
    objective, head, kind = fine_tuning(checkpoint, heads)
    arrays |= head
  else:
    objective, pretraining = _pretraining(checkpoint, c, encoder)
    rest, kind = rest | pretraining, "pretrained"
  return Foreign(
    modality="text",
    encoder=encoder,
    objective=objective,
    inputs=jax.ShapeDtypeStruct((1, min(8, encoder["max_tokens"])), jnp.int32),
    arrays=arrays,
    description=f"data2vec_text of fairseq, {kind}",
    notes=(*notes, LICENCE),
    **{"rules": names.TEXT, **rest},
  )


def _current(weights):
  """Weights under the names that fairseq gives them since its release."""
  names = {
    name: re.sub(r"^decoder\.", "encoder.", name).replace(
      ".emb_layer_norm.", ".layernorm_embedding."
    )
    for name in weights
  }
  if not any(".regression_head." in name for name in names.values()):
    names = {
      k: v.replace(".lm_head.", ".regression_head.") for k, v in names.items()
    }
  if len({*names.values()}) < len(names):
    return weights
  return {names[name]: value for name, value in weights.items()}


def _pretraining(checkpoint, c, encoder):
  """The objective, and what else belongs to a pretrained model."""
  layers = c.integer("head_layers", 1, least=1, most=100)
  tracked = ("blocks", "norm") if encoder["pre_norm"] else ("blocks",)
  if not c.flag("ema_transformer_layers_only", True):
    tracked = ("feature_encoder", *tracked)
    if encoder["positions"] == "learned":
      tracked = ("position_embedding", *tracked)
    if encoder["embedding_norm"]:
      tracked = ("embedding_norm", *tracked)
  # An average that is a copy is not one: those sub-trees are shared.
  copies = {
    "feature_encoder": f"{_ENCODER}embed_tokens.",
    "position_embedding": f"{_ENCODER}embed_positions.",
    "embedding_norm": f"{_ENCODER}layernorm_embedding.",
  }
  shared = tuple(copies[name] for name in copies.keys() - {*tracked})
  average = checkpoint.averages.get("encoder._ema", {})
  average = _current({_ENCODER + k: v for k, v in average.items()})
  teacher = {k: v for k, v in average.items() if not k.startswith(shared)}
  rest = {"teacher": teacher, "tracked": tracked}
  if checkpoint.encoder_only:
    return {}, rest
  scale = c.number("loss_scale", None)
  objective = data2vec_objective(
    c,
    output="ffn",
    head={"layers": layers, "initial": "normal"},
    tracked=tracked,
    loss_scale="rsqrt" if scale is None or scale <= 0 else scale,
  )
  rules = (*names.TEXT, *names.regression_head(layers))
  return objective, {**rest, "rules": rules, "unused": _UNUSED}


def classification_heads(arrays: Arrays) -> tuple[Arrays, dict[str, Arrays]]:
  """Weights without those of heads, and the heads' own by the heads' names."""
  rest, heads = {}, {}
  for name, value in arrays.items():
    match = _HEADS.fullmatch(name)
    if match:
      heads.setdefault(match[1], {})[f"classification_head.{match[2]}"] = value
    else:
      rest[name] = value
  return rest, heads


def fine_tuning(
  checkpoint: Checkpoint, heads: dict[str, Arrays]
) -> tuple[dict[str, Any], Arrays, str]:
  """config.objective, the weights of the one head, and what it is called."""
  if checkpoint.encoder_only:
    return {}, {}, "fine-tuned"
  if len(heads) != 1:
    raise checkpoint.error(
      f"it has {len(heads)} heads ({', '.join(sorted(heads))}), and there can "
      "be one; the encoder alone can be imported (encoder_only)"
    )
  [(name, weights)] = heads.items()
  bias = weights.get("classification_head.out_proj.bias")
  if bias is None or bias.ndim != 1:
    raise checkpoint.error("its classification head has no out_proj.bias")
  criterion = checkpoint.cfg.inner("criterion")
  # Squared error of a score, or cross entropy.
  score = criterion.flag("regression_target", len(bias) == 1)
  objective = {
    "name": "regression" if score else "classification",
    "head": {
      "num_outputs": len(bias),
      "pool": "first",
      "hidden": True,
      "initial": "normal",
    },
  }
  return objective, weights, f"head {name!r}"


def _encoder(checkpoint: Checkpoint, t: Options) -> dict[str, Any]:
  """Arguments of `text`."""
  e = t.section("encoder")
  for section, name, value in (
    (t, "activation_fn", "gelu"),
    (t, "no_token_positional_embeddings", False),
    (t, "adaptive_input", False),
    (t, "char_inputs", False),
    (e, "layerdrop", 0),
  ):
    section.require(name, value)
  width = e.integer("embed_dim", 512, least=1)
  tokens = f"{_ENCODER}embed_tokens.weight"
  found = size(checkpoint, tokens, 1)
  if found != width:
    raise e.error("embed_dim", f"the weight {tokens} has a width of {found}")
  learned = e.flag("learned_pos", False)
  if learned:
    rows = size(checkpoint, f"{_ENCODER}embed_positions.weight", 0)
    max_tokens = rows - PAD - 1
  else:
    max_tokens = t.integer("max_source_positions", 1024, least=1, most=2**16)
  if max_tokens < 1:
    raise checkpoint.error(f"its table of positions has {rows} rows")
  return {
    "name": "text",
    "vocab_size": size(checkpoint, tokens, 0),
    "max_tokens": max_tokens,
    "width": width,
    "depth": e.integer("layers", 6, least=1, most=1000),
    "num_heads": e.integer("attention_heads", 8, least=1),
    "mlp_ratio": mlp_ratio(checkpoint, f"{_ENCODER}layers.0.fc1.weight", width),
    "positions": "learned" if learned else "sinusoidal",
    "scale_embedding": not t.flag("no_scale_embedding", False),
    "embedding_norm": t.flag("layernorm_embedding", False),
    "pre_norm": e.flag("normalize_before", False),
    "dropout": t.number("dropout", 0.1),
    "attention_dropout": t.number("attention_dropout", 0.0),
    "activation_dropout": t.number("activation_dropout", 0.0),
  }


def tokenizer_files(
  checkpoint: Checkpoint, vocab_size: int
) -> tuple[dict[str, bytes], dict[str, Any], list[str]]:
  """Files of the tokenizer, config.data, and what to say about it."""
  given = checkpoint.dictionary
  folder = checkpoint.path.parent if given is None else given
  if not all((folder / name).exists() for name in _BPE):
    what = f"a folder with {', '.join(_BPE)}"
    if given is not None:
      raise InterchangeError(f"{given}: a text model's dictionary is {what}.")
    note = f"no tokenizer beside the file; its dictionary would be {what}"
    return {}, {}, [note]
  try:
    found = tokenizer.load(folder).vocab_size
  except ValueError as e:
    raise InterchangeError(str(e)) from e
  if found != vocab_size:
    raise InterchangeError(
      f"{folder}: the tokenizer has {found} tokens, and the model "
      f"{vocab_size}; they do not belong together."
    )
  files = {f"{_FOLDER}/{name}": (folder / name).read_bytes() for name in _BPE}
  return files, {"tokenizer": {"path": _FOLDER}}, []
