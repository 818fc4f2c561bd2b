"""The source's own activations against ours, where PyTorch is there."""

import json
import math
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from d2v_jax.data.layout import EOS, PAD, WaveformInputs, num_frames
from d2v_jax.data.text import foreign_tokenizer
from d2v_jax.interchange.files import Folder
from d2v_jax.interchange.huggingface import ctc, exact, text_tokenizer
from d2v_jax.interchange.huggingface.folder import kind
from d2v_jax.interchange.huggingface.parts import (
  HEADS,
  num_labels,
  unprefixed,
)
from d2v_jax.interchange.model import Model, build, channels, resolved
from d2v_jax.interchange.plain_torch import network as plain_torch
from d2v_jax.models.encoder import EncoderOutput
from d2v_jax.objectives import ema

Batch = dict[str, np.ndarray]

_FRAMES = 40
_TOKENS = 24
_SIDES = ("image_size", "patch_size")


def check(
  folder: epath.PathLike, model: Model, seed: int = 0
) -> tuple[dict[str, float] | None, str]:
  """Largest absolute differences on a small random batch, in float32.

  transformers, or for data2vec 2.0 our own network in PyTorch, is given the
  weights and the fields of config.json that have been checked, never the
  folder. Half of the rows of speech and text are padded, except where our
  encoder isolates padding and transformers does not.

  Args:
    folder: of Hugging Face.
    model: what `folder.read` made of it.
    seed: of the batch.

  Returns:
    'block 1' to 'block L', 'output', and 'logits' where there is a head, ->
    difference, and ''; or None and the reason, where torch or transformers are
    not installed.
  """
  try:
    import torch
  except ImportError:
    return _missing("torch")
  there = Folder(epath.Path(folder))
  if not _is_second(model):
    try:
      import transformers  # noqa: F401
    except ImportError:
      return _missing("transformers")
  theirs = network_of(there, model)
  ours, objective = build(
    model.modality, resolved(model.modality, model.encoder), model.objective
  )
  batch, theirs_of_it = _batch(model, np.random.default_rng(seed))
  theirs_of_it |= _their_ids(model, batch["inputs"])
  inputs = {k: torch.from_numpy(v) for k, v in theirs_of_it.items()}
  params = jax.tree.map(jnp.asarray, _params(there, model))
  name = model.objective.get("name")
  logits = None
  with jax.default_matmul_precision("highest"):
    output = ours(params, {k: jnp.asarray(v) for k, v in batch.items()})
    if name in HEADS:
      padding = () if name == "ctc" else (output.padding,)
      logits = objective.head(params["head"], output.tokens, *padding)
  with torch.no_grad():
    base = getattr(theirs, "base_model", theirs)(
      **inputs, output_hidden_states=True
    )
    if logits is not None:
      their_logits = theirs(**inputs).logits.numpy()
  hidden = [x.numpy() for x in base.hidden_states[1:]]
  tokens, blocks = _with_cls(model, output)
  whole = np.ones(tokens.shape[:2], bool)  # [B, N] where nothing is padded
  if output.padding is not None:
    whole = ~np.asarray(output.padding)

  def largest(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.abs(x - y)[whole].max())

  differences = {
    f"block {i}": largest(x, y)
    for i, (x, y) in enumerate(zip(blocks, hidden, strict=True), 1)
  }
  differences["output"] = largest(tokens, base.last_hidden_state.numpy())
  if name == "ctc":
    columns, _, _ = ctc.read(kind(there)[1].config, there)
    logits = np.asarray(logits)
    differences["logits"] = largest(logits, their_logits[..., columns])
  elif logits is not None:
    difference = np.abs(np.asarray(logits) - their_logits)
    differences["logits"] = float(difference.max())
  return differences, ""


def network_of(folder: Folder, model: Model) -> Any:
  """The network in PyTorch, with the weights of a folder, in evaluation mode.

  Args:
    folder: of Hugging Face.
    model: what `folder.read` made of it.

  Raises:
    ImportError: torch or, but for data2vec 2.0, transformers is not installed.
  """
  module, incoming = kind(folder)
  if _is_second(model):
    values = dict(incoming.config.values)
    return plain_torch.build(model.modality, values, folder.weights())
  import torch
  import transformers

  config = incoming.config
  known = {k: config[k] for k in module.DEFAULTS}
  # Pairs and objects are read as numbers; transformers is given numbers.
  known |= {
    k: v for k, v in model.encoder.items() if k in _SIDES and k in known
  }
  if config["id2label"] is not None:
    known["num_labels"] = num_labels(config)
  name = getattr(module, "COMPARED_AS", incoming.architecture)
  architecture = getattr(transformers, name)
  with torch.random.fork_rng(devices=[]):
    network = architecture(architecture.config_class(**known)).eval()
  left_out = module.ARCHITECTURES[incoming.architecture]
  names = set(network.state_dict())

  def name_of(name: str) -> str:
    newer = name
    for pattern, replacement in getattr(module, "RENAMED", {}).items():
      newer = re.sub(pattern, replacement, newer)
    known = (name, newer, f"{module.PREFIX}.{newer}")
    return next((x for x in known if x in names), f"{module.PREFIX}.{name}")

  network.load_state_dict(
    {
      name_of(k): torch.from_numpy(v.copy())
      for k, v in unprefixed(folder.weights(), module.PREFIX).items()
      if not (left_out and re.fullmatch(left_out, k))
    },
    strict=False,
  )
  return network


def _is_second(model: Model) -> bool:
  """Whether it is one of data2vec 2.0, which transformers has not."""
  return model.encoder["name"].startswith("visible_")


def _missing(library: str) -> tuple[None, str]:
  return None, f"{library} is not installed; pip install d2v_jax[parity]"


def _with_cls(
  model: Model, output: EncoderOutput
) -> tuple[np.ndarray, np.ndarray]:
  """Tokens [B, N, D] and blocks [L, B, N, D]; of images CLS comes first."""
  tokens, blocks = (np.asarray(x) for x in (output.tokens, output.block))
  if output.cls is not None and model.modality == "vision":
    tokens = np.concatenate([np.asarray(output.cls)[:, None], tokens], 1)
    cls = np.asarray(output.block_cls)[:, :, None]
    blocks = np.concatenate([cls, blocks], 2)
  return tokens, blocks


def _params(folder: Folder, model: Model) -> dict[str, Any]:
  """Those whose weights the files of Hugging Face have."""
  if folder.has(exact.CONFIG) and model.teacher_params:
    content = folder.json(exact.CONFIG)
    if content.get("model") == "teacher":
      return ema.teacher(model.params, model.teacher_params)
  return model.params


def _their_ids(model: Model, tokens: np.ndarray) -> Batch:
  """Tokens under the numbers that they had, where that are others."""
  if not text_tokenizer.is_foreign(model.files):
    return {}
  name = f"{text_tokenizer.FOLDER}/{foreign_tokenizer.ORDER}"
  order = np.array(json.loads(model.files[name])["order"], np.int64)
  # Types follow from the separators with us, and are inputs there.
  ends = tokens == EOS
  types = np.minimum(
    np.cumsum(ends, 1) - ends, model.encoder.get("token_types", 1) - 1
  )
  return {"input_ids": order[tokens], "token_type_ids": types.astype(np.int64)}


def _batch(model: Model, rng: np.random.Generator) -> tuple[Batch, Batch]:
  """Two examples, as we and as transformers take them."""
  encoder = resolved(model.modality, model.encoder)
  if model.modality == "vision":
    side = encoder["image_size"]
    count = channels(encoder["patch_size"], model.params)
    shape = (2, side, side, count)
    images = rng.standard_normal(shape, np.float32)
    theirs = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    return {"inputs": images}, {"pixel_values": theirs}
  if model.modality == "text":
    length = min(_TOKENS, encoder["max_tokens"])
    tokens = rng.integers(EOS, encoder["vocab_size"], (2, length), np.int32)
    tokens[1, length - length // 2 :] = PAD
    theirs = tokens.astype(np.int64)
    return {"inputs": tokens}, {
      "input_ids": theirs,
      "attention_mask": (theirs != PAD).astype(np.int64),
    }
  layers = encoder["conv_layers"]
  length = WaveformInputs(layers, encoder["width"]).shortest
  length += (_FRAMES - 1) * math.prod(stride for _, _, stride in layers)
  whole = encoder["isolate_padding"] and not _is_second(model)
  short = length if whole else length * 3 // 5
  lengths = np.array([length, short])
  there = np.arange(length) < lengths[:, None]  # [2, T]
  audio = np.where(there, rng.standard_normal(there.shape, np.float32), 0)
  frames = num_frames(lengths, layers)
  padding = np.arange(_FRAMES) >= frames[:, None]
  return {"inputs": audio, "padding": padding}, {
    "input_values": audio,
    "attention_mask": there.astype(np.int64),
  }
