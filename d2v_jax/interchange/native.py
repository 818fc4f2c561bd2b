"""Runs as plain safetensors and JSON, for any software that reads these.

A folder with d2v_jax.json, weights.safetensors and, for text, the tokenizer.
Arrays of weights.safetensors are called params/PATH and teacher_params/PATH, in
the layout that they have in a run; d2v_jax.json says what model they are of.
"""

import dataclasses
import hashlib
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from etils import epath

from d2v_jax import config as config_lib
from d2v_jax.interchange import input_shapes, run
from d2v_jax.interchange.files import Folder, to_bytes, to_json
from d2v_jax.interchange.huggingface.exact import resolved
from d2v_jax.interchange.model import Foreign, Imported, assemble
from d2v_jax.interchange.weights import (
  InterchangeError,
  Rule,
  flatten,
  unflatten,
)
from d2v_jax.modalities import MODALITIES

CONFIG = "d2v_jax.json"
WEIGHTS = "weights.safetensors"
_FORMAT = "d2v_jax safetensors"
_VERSION = 1
# Of any size of an encoder; beyond are mistakes, or worse.
_LARGEST = 2**20
_TREES = ("params", "teacher_params")
# What of config.data belongs to the model.
_DATA = ("labels", "channels", "tokenizer")
_FIELDS = {
  "modality": str,
  "encoder": dict,
  "objective": dict,
  "data": dict,
  "tracked": list,
  "files": list,
  "description": str,
  "sha256": str,
}
_FILE = re.compile(r"tokenizer/[A-Za-z0-9_][A-Za-z0-9_.-]*")


def write(
  dest: epath.PathLike,
  model: Imported,
  facts: Mapping[str, Any] | None = None,
) -> tuple[str, ...]:
  """Writes the folder; `read` gives the model back, bit for bit.

  Args:
    dest: the folder; there must be none, or an empty one.
    model: a run, as `run.read` gives it, for text with the `files` of its
      tokenizer, as `huggingface_tokenizer.of_run` gives them. Student and
      teacher are written; of `data`, labels, channels and tokenizer.
    facts: of the run, as `model_card.facts` gives them.

  Returns:
    What a user of the folder must know, a line each.

  Raises:
    ValueError: the folder is not empty.
  """
  dest = epath.Path(dest)
  run.require_free(dest)
  arrays = {
    f"{tree}/{path}": np.asarray(leaf)
    for tree in _TREES
    for path, leaf in flatten(getattr(model, tree)).items()
  }
  weights = to_bytes(arrays, {"format": _FORMAT})
  data = {k: v for k, v in model.data.items() if k in _DATA}
  if model.files:
    data["tokenizer"] = {"path": "tokenizer"}
  elif "path" in data.get("tokenizer", {}):
    del data["tokenizer"]  # a file of this machine
  facts = facts or {}
  content = {
    "format": _FORMAT,
    "version": _VERSION,
    "description": model.description,
    "modality": model.modality,
    "encoder": model.encoder,
    "objective": model.objective,
    "data": data,
    "tracked": sorted(model.teacher_params),
    "files": sorted(model.files),
    "sha256": hashlib.sha256(weights).hexdigest(),
    "origin": {
      k: facts[k]
      for k in ("step", "metrics", "commit", "versions")
      if facts.get(k) is not None
    },
  }
  files = {**model.files, WEIGHTS: weights, CONFIG: to_json(content)}
  for name, file in files.items():
    (dest / name).parent.mkdir(parents=True, exist_ok=True)
    (dest / name).write_bytes(file)
  return ()


def read(folder: epath.PathLike) -> Imported:
  """Reads a folder that `write` has made.

  Raises:
    InterchangeError: it is no such folder, is damaged, or its weights are not
      those of the model that it describes; then nothing is loaded.
  """
  found = Folder(epath.Path(folder))
  content = _content(found)
  modality = content["modality"]
  encoder = config_lib.plain(content["encoder"])
  trees = _trees(found, content["sha256"])
  source = str(found.path)
  try:
    arguments = resolved(modality, encoder)
    takes = input_shapes.example(
      modality, arguments, unflatten(trees["params"])
    )
    whole = assemble(
      Foreign(
        modality=modality,
        encoder=arguments,
        objective=config_lib.plain(content["objective"]),
        inputs=takes,
        arrays=trees["params"],
        rules=tuple(Rule(path, path) for path in trees["params"]),
        teacher=trees["teacher_params"],
        tracked=tuple(content["tracked"]),
        data=config_lib.plain(content["data"]),
        files={name: _file(found, name) for name in content["files"]},
        description=content["description"],
      ),
      source,
    )
  except (KeyError, TypeError, IndexError) as e:
    raise InterchangeError(
      f"{source}/{CONFIG} does not describe a model of ours ({e!r}); export "
      "the run again."
    ) from e
  return dataclasses.replace(whole, encoder=encoder)


def _content(folder):
  source = folder.path / CONFIG
  content = folder.json(CONFIG)
  if (content.get("format"), content.get("version")) != (_FORMAT, _VERSION):
    raise InterchangeError(
      f"{source} is not of version {_VERSION} of an export to safetensors; "
      "export the run again."
    )
  wrong = [k for k, kind in _FIELDS.items() if type(content.get(k)) is not kind]
  if wrong or content["modality"] not in MODALITIES:
    raise InterchangeError(
      f"{source} is damaged: {', '.join(wrong) or 'modality'} is not what "
      "export writes; export the run again."
    )
  if any(size > _LARGEST for size in _integers(content["encoder"])):
    raise InterchangeError(
      f"{source}: refused a size of the encoder above {_LARGEST}."
    )
  return content


def _integers(value):
  """All integers of nested dicts and lists."""
  if isinstance(value, dict | list):
    parts = value.values() if isinstance(value, dict) else value
    return [n for part in parts for n in _integers(part)]
  return [value] if isinstance(value, int) else []


def _trees(folder, digest):
  """Tree -> arrays by path."""
  path = folder.path / WEIGHTS
  arrays = folder.arrays(WEIGHTS)
  if hashlib.sha256(path.read_bytes()).hexdigest() != digest:
    raise InterchangeError(
      f"{path} is not the file that {CONFIG} belongs to (their SHA-256 "
      "differ); export the run again, or copy both files again."
    )
  trees = {tree: {} for tree in _TREES}
  for name, array in arrays.items():
    tree, _, leaf = name.partition("/")
    if tree not in trees or not leaf:
      raise InterchangeError(
        f"{path}: {name} is in none of {', '.join(_TREES)}."
      )
    trees[tree][leaf] = array
  return trees


def _file(folder, name):
  if not isinstance(name, str) or not _FILE.fullmatch(name):
    raise InterchangeError(
      f"{folder.path / CONFIG}: refused the file {ascii(name)[:100]}; only "
      "those of a tokenizer may be there."
    )
  directory, _, base = name.partition("/")
  return Folder(folder.path / directory).read(base)
