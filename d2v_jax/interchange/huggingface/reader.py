"""Hugging Face's Data2VecVision, Data2VecAudio and Data2VecText folders."""

import dataclasses
import types
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from etils import epath

from d2v_jax import config as config_lib
from d2v_jax.interchange import model_card
from d2v_jax.interchange.files import (
  WEIGHTS,
  Folder,
  to_bytes,
  to_json,
)
from d2v_jax.interchange.huggingface import exact, speech, text, vision
from d2v_jax.interchange.huggingface.fields import Fields
from d2v_jax.interchange.huggingface.parts import Outgoing, refuse, unprefixed
from d2v_jax.interchange.model import Imported, assemble
from d2v_jax.interchange.weights import InterchangeError
from d2v_jax.models.heads import LinearHead, PooledHead
from d2v_jax.objectives import SUB_TREES, ema

CONFIG = "config.json"
MODELS = ("teacher", "student")
_MODULES = {
  "vision": vision,
  "speech": speech,
  "text": text,
}
# What of config.data belongs to the model.
_DATA = ("labels", "channels")
_PROBLEMS = {
  "classification": "single_label_classification",
  "regression": "regression",
}
# Objectives whose head comes along.
_HEADS = {
  "ctc": LinearHead,
  "classification": PooledHead,
  "regression": PooledHead,
}
SUPERVISED = tuple(_HEADS)


def read(folder: epath.PathLike) -> Imported:
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
  found = Folder(epath.Path(folder))
  plain, inputs = _plain(found)
  return exact.restore(found, plain, inputs)


def write(
  dest: epath.PathLike,
  model: Imported,
  which: str = "teacher",
  facts: Mapping[str, Any] | None = None,
) -> tuple[str, ...]:
  """Writes a folder that transformers' from_pretrained opens offline.

  `read` gives all of `model` back, bit for bit: what transformers has no place
  for is in files of our own beside the others.

  Args:
    dest: the folder; there must be none, or an empty one.
    model: a run: its config.encoder, config.objective, trees, `data` (of which
      labels and channels are kept) and, for text, the `files` of its tokenizer
      as `huggingface_tokenizer.of_run` gives them.
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
  if dest.exists() and (not dest.is_dir() or any(dest.iterdir())):
    raise InterchangeError(
      f"{dest} exists and is not an empty folder; choose another name."
    )
  data = {k: v for k, v in model.data.items() if k in _DATA}
  model = dataclasses.replace(model, data=data)
  if not model.teacher_params:
    which = "student"
  tree = model.params
  if which == "teacher":
    tree = ema.teacher(model.params, model.teacher_params)
  outgoing = _outgoing(model, jax.tree.map(np.asarray, tree))
  files = {
    **outgoing.files,
    CONFIG: to_json({**outgoing.config, "dtype": "float32"}),
    WEIGHTS: to_bytes(outgoing.arrays, {"format": "pt"}),
  }
  architecture = outgoing.config["architectures"][0]
  card = model_card.text(model, which, architecture, outgoing.notes, facts)
  dest.mkdir(parents=True, exist_ok=True)
  _write_all(dest, files | {"README.md": card.encode()})
  readable = _plain(Folder(dest))[0].params
  _write_all(dest, exact.write(model, which, readable, files))
  return outgoing.notes


def _write_all(dest, files):
  for name, content in files.items():
    (dest / name).write_bytes(content)


def _plain(folder: Folder) -> tuple[Imported, jax.ShapeDtypeStruct]:
  """What the files of Hugging Face say, and an example of the inputs."""
  fields, module, architecture = kind(folder)
  arrays = unprefixed(folder.weights(), module.PREFIX)
  model = module.read(fields, architecture, arrays, folder)
  description = (
    f"{architecture}, {fields['num_hidden_layers']} layers of width "
    f"{fields['hidden_size']}"
  )
  model = dataclasses.replace(model, description=description)
  return assemble(model, str(folder.path)), model.inputs


def kind(folder: Folder) -> tuple[Fields, types.ModuleType, str]:
  """Typed config.json, the modality's module and the architecture.

  Raises:
    InterchangeError: it is none of ours, or brings code of its own.
  """
  values = folder.json(CONFIG)
  source = str(folder.path / CONFIG)
  modules = {m.MODEL_TYPE: m for m in _MODULES.values()}
  fields = Fields(values, {}, source)
  fields.only("model_type", *modules)
  module = modules[values["model_type"]]
  fields = Fields(values, module.DEFAULTS, source)
  if values.get("auto_map"):
    fields.only("auto_map", None)  # code of its own, which is never run
  if values.get("pruned_heads"):
    fields.only("pruned_heads", {})
  named = values.get("architectures") or [module.BASE]
  if not isinstance(named, list) or named[0] not in module.ARCHITECTURES:
    raise InterchangeError(
      f"{source}: architectures={named!r} is not supported; choose a model of "
      f"one of: {', '.join(module.ARCHITECTURES)}."
    )
  return fields, module, named[0]


def _outgoing(model, params) -> Outgoing:
  encoder = exact.resolved(model.modality, model.encoder)
  if encoder["name"].startswith("visible_"):
    raise refuse(
      "encoder.name",
      encoder["name"],
      "transformers has no network of data2vec 2.0",
    )
  name, head = model.objective.get("name"), None
  if name == "ctc" and model.modality != "speech":
    raise refuse("objective.name", name, "CTC there is for speech alone")
  if name in SUPERVISED:
    head = config_lib.call(
      _HEADS[name], model.objective["head"], "config.objective.head"
    )
  else:
    params = {k: v for k, v in params.items() if k not in SUB_TREES}
  made = _MODULES[model.modality].write(model, encoder, head, params)
  if name in _PROBLEMS:
    labels = {str(i): f"LABEL_{i}" for i in range(head.num_outputs)}
    numbers = {label: int(i) for i, label in labels.items()}
    made.config.update(
      id2label=labels, label2id=numbers, problem_type=_PROBLEMS[name]
    )
  return made
