"""An ONNX file's numbers beside those of this library."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from d2v_jax.data.layout import PAD, num_frames
from d2v_jax.interchange.model import Model, build, channels, resolved
from d2v_jax.interchange.weights import Tree
from d2v_jax.models.pooled_head import mean_pool

Batch = dict[str, np.ndarray]


def inputs(model: Model, params: Tree, batch: int, length: int) -> Batch:
  """Random inputs; the last of several ends a third earlier than the others.

  Args:
    model: what they are for.
    params: its parameters.
    batch: how many.
    length: frames of recordings, tokens of texts.

  Returns:
    Name -> array, in the order of the file's inputs.
  """
  rng = np.random.default_rng(batch)
  encoder = resolved(model.modality, model.encoder)
  taken: Any = build(model.modality, encoder, {})[0].inputs
  if model.modality == "vision":
    count = channels(encoder["patch_size"], params)
    shape = (batch, count, *taken.size)
    return {"pixel_values": rng.standard_normal(shape, np.float32)}
  if model.modality == "speech":
    strides = [stride for _, _, stride in encoder["conv_layers"]]
    length = taken.shortest + (length - 1) * int(np.prod(strides))
  else:
    length = min(length, taken.max_tokens)
  lengths = np.full(batch, length)
  if batch > 1:
    lengths[-1] = max(length - length // 3, getattr(taken, "shortest", 1))
  there = np.arange(length) < lengths[:, None]
  mask = there.astype(np.int64)
  if model.modality == "speech":
    samples = rng.standard_normal(mask.shape, np.float32) * there
    return {"input_values": samples.astype(np.float32), "attention_mask": mask}
  ids = rng.integers(2, encoder["vocab_size"], mask.shape)
  return {"input_ids": np.where(there, ids, PAD), "attention_mask": mask}


def own(model: Model, params: Tree) -> Callable[[Batch], Batch]:
  """This library's own outputs of such inputs, by the file's names."""
  encoder = resolved(model.modality, model.encoder)
  ours, objective = build(model.modality, encoder, model.objective)

  def batch_of(inputs):
    if model.modality == "vision":
      return {"inputs": inputs["pixel_values"].transpose(0, 2, 3, 1)}
    if model.modality == "text":
      return {"inputs": inputs["input_ids"].astype(np.int32)}
    lengths = inputs["attention_mask"].sum(1)
    layers = encoder["conv_layers"]
    frames = num_frames(inputs["input_values"].shape[1], layers)
    padding = np.arange(frames) >= num_frames(lengths, layers)[:, None]
    return {"inputs": inputs["input_values"], "padding": padding}

  def outputs(inputs):
    with jax.default_matmul_precision("highest"):
      output = ours(params, jax.tree.map(jnp.asarray, batch_of(inputs)))
      tokens, padding = output.tokens, output.padding
      if model.modality == "vision" and output.cls is not None:
        tokens = jnp.concatenate([output.cls[:, None], tokens], 1)
      made = {"last_hidden_state": tokens}
      if "head" in params:
        ctc = model.objective["name"] == "ctc"
        rest = () if ctc else (padding,)
        made["logits"] = objective.head(params["head"], output.tokens, *rest)
      else:
        made["features"] = mean_pool(output.tokens, padding)
    if padding is not None:
      made["padding"] = padding
    return {k: np.asarray(v) for k, v in made.items()}

  return outputs


def largest_difference(file: epath.Path, model: Model, params: Tree) -> float:
  """Of all outputs from this library's own, over batches with padding.

  What stands at padding does not count.

  Args:
    file: the ONNX file.
    model: what it was made of.
    params: its parameters.
  """
  import onnxruntime

  session = onnxruntime.InferenceSession(
    str(file), providers=["CPUExecutionProvider"]
  )
  names = [output.name for output in session.get_outputs()]
  ours, largest = own(model, params), 0.0
  for batch, length in ((1, 5), (3, 9)):
    batch_inputs = inputs(model, params, batch, length)
    theirs = dict(zip(names, session.run(None, batch_inputs), strict=True))
    expected = ours(batch_inputs)
    padding = expected.pop("padding", np.zeros((batch, 1), bool))
    for name, value in expected.items():
      difference = np.abs(value - theirs[name])
      if value.ndim == 3:  # what stands at padding is of no use
        difference = np.where(padding[..., None], 0, difference)
      largest = max(largest, float(difference.max()))
  return largest
