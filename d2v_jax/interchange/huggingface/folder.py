"""Folders of data2vec and of wav2vec 2.0, both ways; others in."""

import dataclasses
import types
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from etils import epath

from d2v_jax import config as config_lib
from d2v_jax.interchange import model_card, run
from d2v_jax.interchange.files import (
  WEIGHTS,
  Folder,
  to_bytes,
  to_json,
  write_all,
)
from d2v_jax.interchange.huggingface import (
  beit,
  bert,
  data2vec2,
  exact,
  hubert,
  roberta,
  speech,
  text,
  vision,
  vit,
  vit_mae,
  wav2vec2,
)
from d2v_jax.interchange.huggingface.parts import (
  BUFFERS,
  HEADS,
  PROBLEMS,
  Incoming,
  Outgoing,
  Written,
  label_fields,
  prefixed,
  refuse,
  unprefixed,
)
from d2v_jax.interchange.model import DATA, Model, assemble, resolved
from d2v_jax.interchange.options import Options
from d2v_jax.interchange.plain_torch.network import CLASSES
from d2v_jax.interchange.weights import InterchangeError, Tree
from d2v_jax.objectives import SUB_TREES, ema

CONFIG = "config.json"
_ADAPTER = "adapter_config.json"
# Other encoders, which are read only.
_ONLY_IN: tuple[types.ModuleType, ...] = (
  beit,
  bert,
  hubert,
  roberta,
  vit,
  vit_mae,
  wav2vec2,
)
MODELS = ("teacher", "student")
_MODULES: dict[str, types.ModuleType] = {
  "vision": vision,
  "speech": speech,
  "text": text,
}


def read(folder: epath.PathLike) -> Model:
  """Reads a folder that save_pretrained or `write` has made.

  Nothing in it is run. What changes the numbers and has no counterpart here is
  refused by the name and value of its field in config.json.

  Args:
    folder: with config.json, the weights as model.safetensors, in parts with
      an index, or as pytorch_model.bin; and perhaps the files of a
      preprocessor, a vocabulary or a tokenizer.

  Raises:
    InterchangeError: it is no such folder, is damaged, or has what we have not.
  """
  there = Folder(epath.Path(folder))
  return exact.restore(there, _read_plain(there))


def write(
  dest: epath.PathLike,
  model: Model,
  which: str = "teacher",
  facts: Mapping[str, Any] | None = None,
) -> tuple[str, ...]:
  """Writes a folder that transformers' from_pretrained opens offline.

  `read` gives all of `model` back, bit for bit: what transformers has no
  place for is in files of our own beside the others.

  Args:
    dest: the folder; there must be none, or an empty one.
    model: a run: its config.encoder, config.objective, trees, `data` (of which
      labels and what images are brought to are kept) and, for text, the
      `files` of its tokenizer as `text_tokenizer.of_run` gives them.
    which: whose weights transformers is to find, 'teacher' or 'student'; a run
      without a teacher has only its student.
    facts: of the run, for the model card, as `model_card.facts` gives them.

  Returns:
    What a user of the folder must know, a line each.

  Raises:
    InterchangeError: a setting that changes the numbers cannot be expressed,
      or the folder is not empty.
  """
  if which not in MODELS:
    raise InterchangeError(
      f"unknown model {which!r}; choose one of: {', '.join(MODELS)}."
    )
  dest = epath.Path(dest)
  run.require_free(dest)
  data = {k: v for k, v in model.data.items() if k in DATA and k != "tokenizer"}
  model = dataclasses.replace(model, data=data)
  if not model.teacher_params:
    which = "student"
  tree = model.params
  if which == "teacher":
    tree = ema.teacher(model.params, model.teacher_params)
  written = _written(model, jax.tree.map(np.asarray, tree))
  notes = (*written.notes, *_of_images(data))
  files = {
    **written.files,
    CONFIG: to_json(written.config),
    WEIGHTS: to_bytes(written.arrays, {"format": "pt"}),
  }
  architecture = written.config["architectures"][0]
  card = model_card.text(model, which, architecture, notes, facts)
  write_all(dest, files | {"README.md": card.encode()})
  readable = _read_plain(Folder(dest)).params
  write_all(dest, exact.write(model, which, readable, files))
  return notes


def _of_images(data: Mapping[str, Any]) -> list[str]:
  """What no processor of images says."""
  if not data.get("range"):
    return []
  low, high = data["range"]
  return [
    f"images: bring the values {low} to {high} to 0 to 255, 8 bits, in front "
    "of the processor"
  ]


def _read_plain(folder: Folder) -> Model:
  """What the files of Hugging Face say, without ours beside them."""
  module, incoming = kind(folder)
  architecture = incoming.architecture
  arrays = unprefixed(folder.weights(), module.PREFIX)
  model = module.read(dataclasses.replace(incoming, arrays=arrays))
  unused, notes = [*BUFFERS, *model.unused], [*model.notes]
  if head := module.ARCHITECTURES[architecture]:
    unused.append(head)
    notes.append(f"the head of {architecture} was left out: ours has none such")
  config = incoming.config
  model = dataclasses.replace(
    model,
    unused=tuple(unused),
    description=f"{architecture}, {config['num_hidden_layers']} layers of "
    f"width {config['hidden_size']}",
    notes=tuple(notes),
  )
  return assemble(model, str(folder.path))


def kind(folder: Folder) -> tuple[types.ModuleType, Incoming]:
  """The modality's module and the model, its weights not yet read.

  Raises:
    InterchangeError: it is none of ours, or brings code of its own.
  """
  values = folder.json(CONFIG)
  where = f"{folder.path / CONFIG}: config"
  known = (*_MODULES.values(), data2vec2, *_ONLY_IN)
  modules = {m.MODEL_TYPE: m for m in known}
  config = Options({"model_type": None} | values, where)
  config.require("model_type", *modules)
  module = modules[values["model_type"]]
  config = Options(module.DEFAULTS | values, where)
  # That of data2vec 2.0 says whose it is, and is looked at there.
  if config["auto_map"] and module is not data2vec2:
    raise config.error("auto_map", "code of its own is never run")
  if config["pruned_heads"]:
    raise config.error("pruned_heads", "this library has all heads")
  if config["quantization_config"]:
    raise config.error("quantization_config", "weights must be floats")
  if folder.has(_ADAPTER):
    raise InterchangeError(
      f"{folder.path / _ADAPTER}: transformers adds adapters to the weights, "
      "and this library does not; merge them, and save the model again."
    )
  named = config["architectures"] or [module.BASE]
  choices = list(module.ARCHITECTURES)
  if not isinstance(named, list) or named[0] not in choices:
    only = ", ".join(choices)
    raise config.error("architectures", f"choose a model of one of: {only}")
  return module, Incoming(config, named[0], {}, folder)


def _written(model: Model, params: Tree) -> Written:
  if model.modality not in _MODULES:
    raise refuse(
      "modality", model.modality, "transformers has no data2vec of it"
    )
  encoder = resolved(model.modality, model.encoder)
  name, head = model.objective.get("name", ""), None
  if name == "ctc" and model.modality != "speech":
    raise refuse("objective.name", name, "CTC there is for speech alone")
  if name in HEADS:
    head = config_lib.call(
      HEADS[name], model.objective["head"], "config.objective.head"
    )
  else:
    params = {k: v for k, v in params.items() if k not in SUB_TREES}
  module = _MODULES[model.modality]
  if encoder["name"] == "speech" and encoder["position_depth"] == 1:
    module = wav2vec2  # of whose positions there is one layer
  architecture = module.BASE if head is None else module.WITH_HEAD[name]
  second = encoder["name"].startswith("visible_")
  if second:
    module, architecture = data2vec2, CLASSES[model.modality]
  written = module.write(Outgoing(model, encoder, head, architecture, params))
  config = {
    "architectures": [architecture],
    "model_type": module.MODEL_TYPE,
    **written.config,
    "dtype": "float32",
  }
  if head is None:
    return dataclasses.replace(written, config=config)
  if name in PROBLEMS:
    classes = model.data.get("classes")
    config |= label_fields(classes, head.num_outputs)
    config["problem_type"] = PROBLEMS[name]
  arrays = written.arrays
  if not second:
    arrays = prefixed(arrays, module.PREFIX)
  return dataclasses.replace(written, config=config, arrays=arrays)
