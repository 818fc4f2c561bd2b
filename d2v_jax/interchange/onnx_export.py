"""A model as ONNX, for software that runs such files.

A folder with model.onnx, and what prepares its inputs: the files of a processor
or a tokenizer, as in a Hugging Face folder.
"""

import json
import logging
import tempfile
import warnings
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from etils import epath

from d2v_jax.interchange import onnx_check, run
from d2v_jax.interchange.files import Folder
from d2v_jax.interchange.huggingface import folder as huggingface
from d2v_jax.interchange.huggingface import parity
from d2v_jax.interchange.huggingface.parts import HEADS
from d2v_jax.interchange.model import Model, build, resolved
from d2v_jax.interchange.plain_torch import network
from d2v_jax.interchange.weights import InterchangeError, Tree
from d2v_jax.objectives import SUB_TREES, ema

FILE = "model.onnx"
OPSET = 18
_NEEDS = ("torch", "transformers", "onnx", "onnxscript", "onnxruntime")
# Files of a Hugging Face folder that are written beside, where it has them.
_PREPARING = (
  "preprocessor_config.json",
  "tokenizer.json",
  "tokenizer_config.json",
  "vocab.json",
  "merges.txt",
)
# Inputs in order -> their axes, of which those that are named are free.
INPUTS: dict[str, dict[str, dict[int, str]]] = {
  "vision": {"pixel_values": {0: "batch"}},
  "speech": {
    "input_values": {0: "batch", 1: "samples"},
    "attention_mask": {0: "batch", 1: "samples"},
  },
  "text": {
    "input_ids": {0: "batch", 1: "tokens"},
    "attention_mask": {0: "batch", 1: "tokens"},
  },
}


def write(
  dest: epath.PathLike, model: Model, which: str = "teacher"
) -> tuple[str, ...]:
  """Writes the folder, and compares it with this library's own numbers.

  Inputs are `pixel_values` float32 [batch, C, H, W]; `input_values` float32
  [batch, samples] or `input_ids` int64 [batch, tokens], with `attention_mask`
  int64 of the same shape, 0 where there is padding. Outputs are
  `last_hidden_state` [batch, N, D], the CLS token first where an image has one;
  of recordings `padding` bool [batch, N], True for frames that are none; and
  `logits` of a fine-tuned model, or `features` [batch, D], the mean of the
  tokens that are neither CLS nor padding.

  Args:
    dest: the folder; there must be none, or an empty one.
    model: a run, as for `huggingface.write`.
    which: whose weights, 'teacher' or 'student'.

  Returns:
    What a user of the folder must know, a line each.

  Raises:
    InterchangeError: the extra is not installed, the folder is not empty, or a
      setting cannot be expressed.
  """
  dest = epath.Path(dest)
  run.require_free(dest)
  missing = [name for name in _NEEDS if not _is_there(name)]
  if missing:
    raise InterchangeError(
      f"--format=onnx needs {', '.join(missing)}; pip install d2v_jax[onnx]."
    )
  if not model.teacher_params:
    which = "student"
  params = model.params
  if which == "teacher":
    params = ema.teacher(params, model.teacher_params)
  params = jax.tree.map(np.asarray, params)
  if model.objective.get("name") not in HEADS:
    params = {k: v for k, v in params.items() if k not in SUB_TREES}
  with tempfile.TemporaryDirectory() as made:
    notes = huggingface.write(f"{made}/model", model, which)
    folder = Folder(epath.Path(made) / "model")
    theirs = _theirs(folder, model, params)
    program = _exported(theirs, model, params)
    config = folder.json(huggingface.CONFIG)
    prepares = {n: folder.read(n) for n in _PREPARING if folder.has(n)}
  program.model.metadata_props.update(_metadata(model, which, config, prepares))
  dest.mkdir(parents=True, exist_ok=True)
  for name, content in prepares.items():
    (dest / name).write_bytes(content)
  program.save(str(dest / FILE))
  difference = onnx_check.largest_difference(dest / FILE, model, params)
  # transformers' leaking of padding is said in its own notes alone.
  notes = tuple(n for n in notes if not n.startswith("Padded batches"))
  return (
    *notes,
    f"opset {OPSET}; {_signature(program)}",
    f"largest difference from this library's numbers: {difference:.2g}",
  )


def _is_there(name: str) -> bool:
  try:
    __import__(name)
  except ImportError:
    return False
  return True


def _theirs(folder: Folder, model: Model, params: Tree) -> Any:
  """The network in PyTorch: (inputs in order) -> its output."""
  encoder = resolved(model.modality, model.encoder)
  if encoder["name"] not in ("speech", "text"):
    return parity.network_of(folder, model)
  # transformers lets padding leak where ours does not.
  _, objective = build(model.modality, encoder, model.objective)
  head = objective.head if "head" in params else None
  settings = network.settings(model.modality, encoder, head, params)
  arrays = network.weights(model.modality, encoder, params)
  return network.build(model.modality, settings, arrays)


def _exported(theirs: Any, model: Model, params: Tree) -> Any:
  """The torch.onnx.ONNXProgram of a network."""
  import torch

  names = _outputs(model, params)
  first = int("cls_token" in params)

  def mean(tokens, output):
    if not hasattr(output, "padding"):
      return tokens.mean(1)
    real = (~output.padding)[..., None].to(tokens.dtype)
    return (tokens * real).sum(1) / real.sum(1).clamp(min=1)

  class Outputs(torch.nn.Module):
    """The network with its outputs in order."""

    def __init__(self):
      super().__init__()
      self.network = theirs

    def forward(self, *inputs):
      given = dict(zip(INPUTS[model.modality], inputs, strict=True))
      output = self.network(**given, output_hidden_states=True)
      tokens = getattr(output, "last_hidden_state", None)
      if tokens is None:  # a classifier of transformers
        tokens = output.hidden_states[-1]
      made = {"last_hidden_state": tokens}
      if "logits" in names:
        made["logits"] = output.logits
      else:
        made["features"] = mean(tokens[:, first:], output)
      made["padding"] = getattr(output, "padding", None)
      return tuple(made[name] for name in names)

  inputs = onnx_check.inputs(model, params, batch=2, length=3)
  example = {k: torch.from_numpy(v) for k, v in inputs.items()}
  axes = [
    {axis: torch.export.Dim(name, min=2) for axis, name in axes.items()}
    for axes in INPUTS[model.modality].values()
  ]
  if model.modality == "speech":
    least = example["input_values"].shape[1]
    sizes = torch.export.Dim("samples", min=least)
    axes = [{**x, 1: sizes} for x in axes]
  # The products of its definition: fused attention has no counterpart there.
  plain = torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)
  logger = logging.getLogger("torch.onnx")
  level = logger.level
  logger.setLevel(logging.ERROR)
  try:
    with warnings.catch_warnings(), torch.no_grad(), plain:
      warnings.simplefilter("ignore")  # about itself
      program: Any = torch.onnx.export(
        Outputs().eval(),
        tuple(example.values()),
        dynamo=True,
        dynamic_shapes=(tuple(axes),),
        input_names=list(example),
        output_names=names,
        opset_version=OPSET,
        verbose=False,
      )
  finally:
    logger.setLevel(level)
  for output in program.model.graph.outputs:
    if model.modality == "speech" and not isinstance(output.shape[1], int):
      output.shape[1] = "frames"
  return program


def _outputs(model: Model, params: Tree) -> list[str]:
  """Names of the outputs, in order."""
  names = ["last_hidden_state", "logits" if "head" in params else "features"]
  return [*names, "padding"] if model.modality == "speech" else names


def _metadata(
  model: Model, which: str, config: dict[str, Any], files: Mapping[str, bytes]
) -> dict[str, str]:
  """What model.onnx says of itself; values of several parts are JSON."""
  known = {
    "d2v_jax": f"data2vec, {model.modality}, {which}",
    "modality": model.modality,
  }
  if names := config.get("id2label"):
    known["classes"] = json.dumps(list(names.values()), ensure_ascii=False)
  if labels := model.data.get("labels"):
    known["labels"] = json.dumps(labels, ensure_ascii=False)
  if processor := files.get("preprocessor_config.json"):
    known["preprocessor"] = processor.decode()
  return known


def _signature(program: Any) -> str:
  """Names and shapes of inputs and outputs."""
  graph = program.model.graph

  def listed(values):
    return ", ".join(
      f"{v.name} [{', '.join(map(str, v.shape))}]" for v in values
    )

  return f"takes {listed(graph.inputs)} and gives {listed(graph.outputs)}"
