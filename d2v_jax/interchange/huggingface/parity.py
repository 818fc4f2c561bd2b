"""The source's own activations against ours, where transformers is there."""

from typing import Any

import jax
import numpy as np
from etils import epath

from d2v_jax.data.layout import EOS, PAD, num_frames
from d2v_jax.interchange.files import Folder
from d2v_jax.interchange.huggingface import ctc, exact
from d2v_jax.interchange.huggingface.fields import Fields
from d2v_jax.interchange.huggingface.parts import unprefixed
from d2v_jax.interchange.huggingface.reader import SUPERVISED, kind
from d2v_jax.interchange.model import Imported, build
from d2v_jax.objectives import ema

Batch = dict[str, np.ndarray]

_FRAMES = 40
_TOKENS = 24


def check(
  folder: epath.PathLike, imported: Imported, seed: int = 0
) -> tuple[dict[str, float] | None, str]:
  """Largest absolute differences on a small random batch, in float32.

  transformers is given the weights and the fields of config.json that have been
  checked, never the folder. Half of the rows of speech and text are padded,
  except where our encoder isolates padding, which transformers does not.

  Args:
    folder: of Hugging Face.
    imported: what `huggingface.read` made of it.
    seed: of the batch.

  Returns:
    'block 1' to 'block L', 'output', and 'logits' where there is a head, ->
    difference, and ''; or None and the reason, where torch or transformers are
    not installed.
  """
  try:
    import torch
    import transformers
  except ImportError as e:
    return None, f"{e.name} is not installed; pip install d2v_jax[parity]"
  found = Folder(epath.Path(folder))
  fields, module, architecture = kind(found)
  known = {k: fields[k] for k in module.DEFAULTS}
  if fields["id2label"] is not None:
    known["num_labels"] = fields.num_labels()
  theirs = getattr(transformers, architecture)
  with torch.random.fork_rng(devices=[]):
    theirs = theirs(theirs.config_class(**known)).eval()
  own = theirs.state_dict().keys()
  weights = unprefixed(found.weights(), module.PREFIX)
  weights = {
    k if k in own else f"{module.PREFIX}.{k}": torch.from_numpy(v.copy())
    for k, v in weights.items()
  }
  theirs.load_state_dict(weights, strict=False)
  network, objective = build(
    imported.modality,
    exact.resolved(imported.modality, imported.encoder),
    imported.objective,
  )
  batch, their_batch = _batch(imported, fields, np.random.default_rng(seed))
  their_batch = {k: torch.from_numpy(v) for k, v in their_batch.items()}
  params = jax.tree.map(jax.numpy.asarray, _params(found, imported))
  with jax.default_matmul_precision("highest"):
    output = network(params, batch)
    has_logits = imported.objective.get("name") in SUPERVISED
    logits = None
    if has_logits:
      padding = () if imported.objective["name"] == "ctc" else (output.padding,)
      logits = np.asarray(
        objective.head(params["head"], output.tokens, *padding)
      )
  with torch.no_grad():
    base = theirs.base_model(**their_batch, output_hidden_states=True)
    hidden = [x.numpy() for x in base.hidden_states[1:]]
    last = base.last_hidden_state.numpy()
    if has_logits:
      their_logits = theirs(**their_batch).logits.numpy()
  real = np.ones(last.shape[:2], bool)
  if output.padding is not None:
    real = ~np.asarray(output.padding)
  tokens, blocks = (np.asarray(x) for x in (output.tokens, output.block))
  if imported.modality == "vision":  # theirs begin with the CLS token
    tokens = np.concatenate([np.asarray(output.cls)[:, None], tokens], 1)
    cls = np.asarray(output.block_cls)[:, :, None]
    blocks = np.concatenate([cls, blocks], 2)
  pairs = {
    f"block {i}": (x, y)
    for i, (x, y) in enumerate(zip(blocks, hidden, strict=True), 1)
  }
  pairs["output"] = tokens, last
  differences = {
    name: float(np.abs(x - y)[real].max()) for name, (x, y) in pairs.items()
  }
  if has_logits:
    difference = np.abs(logits - their_logits)
    if imported.objective["name"] == "ctc":
      columns, _, _ = ctc.read(fields, found)
      difference = np.abs(logits - their_logits[..., columns])[real]
    differences["logits"] = float(difference.max())
  return differences, ""


def _params(folder: Folder, imported: Imported) -> dict[str, Any]:
  """Those whose weights the files of Hugging Face have."""
  if folder.has(exact.CONFIG) and imported.teacher_params:
    content = folder.json(exact.CONFIG)
    if content.get("model") == "teacher":
      return ema.teacher(imported.params, imported.teacher_params)
  return imported.params


def _batch(
  imported: Imported, fields: Fields, rng: np.random.Generator
) -> tuple[Batch, Batch]:
  """Two examples, as we and as transformers take them."""
  encoder = exact.resolved(imported.modality, imported.encoder)
  if imported.modality == "vision":
    side = encoder["image_size"]
    shape = (2, side, side, fields["num_channels"])
    images = rng.standard_normal(shape, np.float32)
    theirs = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    return {"inputs": images}, {"pixel_values": theirs}
  if imported.modality == "text":
    length = min(_TOKENS, encoder["max_tokens"])
    tokens = rng.integers(EOS, encoder["vocab_size"], (2, length), np.int32)
    tokens[1, length - length // 2 :] = PAD
    theirs = tokens.astype(np.int64)
    return {"inputs": tokens}, {
      "input_ids": theirs,
      "attention_mask": (theirs != PAD).astype(np.int64),
    }
  layers = encoder["conv_layers"]
  samples = _FRAMES
  for _, kernel, stride in reversed(layers):
    samples = (samples - 1) * stride + kernel
  short = samples if encoder["isolate_padding"] else samples * 3 // 5
  there = np.arange(samples) < np.array([[samples], [short]])
  audio = np.where(there, rng.standard_normal(there.shape, np.float32), 0)
  frames = num_frames(there.sum(1), layers)
  padding = np.arange(num_frames(samples, layers)) >= frames[:, None]
  return {"inputs": audio, "padding": padding}, {
    "input_values": audio,
    "attention_mask": there.astype(np.int64),
  }
