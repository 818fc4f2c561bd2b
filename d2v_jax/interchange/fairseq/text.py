"""fairseq's data2vec_text, pretrained, and fine-tuned on a classification."""

import dataclasses
import re
from typing import Any

from d2v_jax.data.layout import PAD
from d2v_jax.data.text import tokenizer
from d2v_jax.interchange.fairseq import names
from d2v_jax.interchange.fairseq.checkpoint import (
  LICENCE,
  Checkpoint,
  data2vec_objective,
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
  model = Foreign(
    modality="text",
    encoder=encoder,
    arrays=arrays,
    rules=names.TEXT,
    unused=(*_UNUSED, _REGRESSION_HEAD),
    data=data,
    files=files,
    description="data2vec_text of fairseq, pretrained",
    notes=(*notes, LICENCE),
  )
  if not heads:
    return _pretrained(checkpoint, model)
  objective, head, kind = fine_tuning(checkpoint, heads)
  return dataclasses.replace(
    model,
    arrays=arrays | head,
    objective=objective,
    description=f"data2vec_text of fairseq, {kind}",
  )


def _current(weights: dict[str, Any]) -> dict[str, Any]:
  """Weights under the names that fairseq gives them since its release."""
  current = [
    re.sub(r"^decoder\.", "encoder.", name).replace(
      ".emb_layer_norm.", ".layernorm_embedding."
    )
    for name in weights
  ]
  if not any(".regression_head." in name for name in current):
    current = [x.replace(".lm_head.", ".regression_head.") for x in current]
  if len({*current}) < len(current):
    return weights
  return dict(zip(current, weights.values(), strict=True))


def _pretrained(checkpoint: Checkpoint, model: Foreign) -> Foreign:
  """The model with its teacher and, where it is wanted, its objective."""
  c, encoder = checkpoint.model, model.encoder
  # Sub-trees below the blocks -> how their names begin.
  below = {
    "embedding_norm": f"{_ENCODER}layernorm_embedding.",
    "position_embedding": f"{_ENCODER}embed_positions.",
    "feature_encoder": f"{_ENCODER}embed_tokens.",
  }
  tracked = ("blocks", "norm") if encoder["pre_norm"] else ("blocks",)
  if not c.flag("ema_transformer_layers_only", True):
    there = {
      "embedding_norm": encoder["embedding_norm"],
      "position_embedding": encoder["positions"] == "learned",
    }
    tracked = (*(x for x in below if there.get(x, True)), *tracked)
  # An average that is a copy is not one: those sub-trees are shared.
  shared = tuple(start for x, start in below.items() if x not in tracked)
  average = checkpoint.averages.get("encoder._ema", {})
  average = _current({_ENCODER + k: v for k, v in average.items()})
  model = dataclasses.replace(
    model,
    teacher={k: v for k, v in average.items() if not k.startswith(shared)},
    tracked=tracked,
  )
  if checkpoint.encoder_only:
    return model
  layers = c.integer("head_layers", 1, least=1, most=100)
  scale = c.number("loss_scale", 0.0)
  return dataclasses.replace(
    model,
    objective=data2vec_objective(
      c,
      output="ffn",
      head={"layers": layers, "initial": "normal"},
      tracked=tracked,
      loss_scale=scale if scale > 0 else "rsqrt",
    ),
    rules=(*names.TEXT, *names.regression_head(layers)),
    unused=_UNUSED,
  )


def classification_heads(arrays: Arrays) -> tuple[Arrays, dict[str, Arrays]]:
  """Weights without those of heads, and the heads' own by the heads' names."""
  rest: Arrays = {}
  heads: dict[str, Arrays] = {}
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
  columns = checkpoint.size(tokens, 1)
  if columns != width:
    raise e.error("embed_dim", f"the weight {tokens} has a width of {columns}")
  learned = e.flag("learned_pos", False)
  if learned:
    max_tokens = longest_input(checkpoint, f"{_ENCODER}embed_positions.weight")
  else:
    max_tokens = t.integer("max_source_positions", 1024, least=1, most=2**16)
  return {
    "name": "text",
    "vocab_size": checkpoint.size(tokens, 0),
    "max_tokens": max_tokens,
    "width": width,
    "depth": e.integer("layers", 6, least=1, most=1000),
    "num_heads": e.integer("attention_heads", 8, least=1),
    "mlp_ratio": checkpoint.mlp_ratio(f"{_ENCODER}layers.0.fc1.weight", width),
    "positions": "learned" if learned else "sinusoidal",
    "scale_embedding": not t.flag("no_scale_embedding", False),
    "embedding_norm": t.flag("layernorm_embedding", False),
    "pre_norm": e.flag("normalize_before", False),
    "dropout": t.number("dropout", 0.1),
    "attention_dropout": t.number("attention_dropout", 0.0),
    "activation_dropout": t.number("activation_dropout", 0.0),
  }


def longest_input(checkpoint: Checkpoint, positions: str) -> int:
  """Tokens of the longest input, of which the table of positions has a row."""
  rows = checkpoint.size(positions, 0)
  if rows - PAD - 1 < 1:
    raise checkpoint.error(f"its table of positions has {rows} rows")
  return rows - PAD - 1


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
    tokens = tokenizer.load(folder).vocab_size
  except ValueError as e:
    raise InterchangeError(str(e)) from e
  if tokens != vocab_size:
    raise InterchangeError(
      f"{folder}: the tokenizer has {tokens} tokens, and the model "
      f"{vocab_size}; they do not belong together."
    )
  files = {f"{_FOLDER}/{name}": (folder / name).read_bytes() for name in _BPE}
  return files, {"tokenizer": {"path": _FOLDER}}, []
