"""Runs as plain safetensors and JSON, for any software that reads these.

A folder with d2v_jax.json, weights.safetensors and, for text, the tokenizer.
Arrays of weights.safetensors are called params/PATH and teacher_params/PATH, in
the layout that they have in a run; d2v_jax.json says what model they are of.
"""

import dataclasses
import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from etils import epath

from d2v_jax import config as config_lib
from d2v_jax.interchange import run
from d2v_jax.interchange.files import Folder, to_bytes, to_json, write_all
from d2v_jax.interchange.model import (
  DATA,
  Foreign,
  Model,
  assemble,
  resolved,
)
from d2v_jax.interchange.weights import (
  Arrays,
  InterchangeError,
  Rule,
  flatten,
)
from d2v_jax.modalities import MODALITIES

CONFIG = "d2v_jax.json"
WEIGHTS = "weights.safetensors"
TREES = ("params", "teacher_params")
_FORMAT = "d2v_jax safetensors"
_VERSION = 1
# Of any size of an encoder; beyond are mistakes, or worse.
_LARGEST = 2**20
# Modalities whose inputs have channels, as many as the weights say.
_IMAGES = ("vision", "spectrogram")
_DESCRIPTION: dict[str, type] = {
  "modality": str,
  "encoder": dict,
  "objective": dict,
  "data": dict,
  "tracked": list,
}
_FILE = re.compile(r"tokenizer/[A-Za-z0-9_][A-Za-z0-9_.-]*")


def write(
  dest: epath.PathLike,
  model: Model,
  facts: Mapping[str, Any] | None = None,
) -> tuple[str, ...]:
  """Writes the folder; `read` gives the model back, bit for bit.

  Args:
    dest: the folder; there must be none, or an empty one.
    model: a run, as `run.read` gives it, for text with the `files` of its
      tokenizer, as `text_tokenizer.of_run` gives them. Student and teacher are
      written; of `data` what is said of the model.
    facts: of the run, as `model_card.facts` gives them.

  Returns:
    What a user of the folder must know, a line each.

  Raises:
    ValueError: the folder is not empty.
  """
  dest = epath.Path(dest)
  run.require_free(dest)
  weights = to_bytes(leaves(model), {"format": _FORMAT})
  data = {k: v for k, v in model.data.items() if k in DATA}
  if model.files:
    data["tokenizer"] = {"path": "tokenizer"}
  elif "path" in data.get("tokenizer", {}):
    del data["tokenizer"]  # a file of this machine
  facts = facts or {}
  content = {
    "format": _FORMAT,
    "version": _VERSION,
    "description": model.description,
    **described(model),
    "data": data,
    "files": sorted(model.files),
    "sha256": hashlib.sha256(weights).hexdigest(),
    "origin": {
      k: facts[k]
      for k in ("step", "metrics", "commit", "versions")
      if facts.get(k) is not None
    },
  }
  files = {WEIGHTS: weights, CONFIG: to_json(content)}
  write_all(dest, {**model.files, **files})
  return ()


def read(folder: epath.PathLike) -> Model:
  """Reads a folder that `write` has made.

  Raises:
    InterchangeError: it is no such folder, is damaged, or its weights are not
      those of the model that it describes; then nothing is loaded.
  """
  there = Folder(epath.Path(folder))
  source = there.path / CONFIG
  content = there.json(CONFIG)
  if (content.get("format"), content.get("version")) != (_FORMAT, _VERSION):
    raise InterchangeError(
      f"{source} is not of version {_VERSION} of an export to safetensors; "
      "export the run again."
    )
  check(content, {"files": list, "description": str, "sha256": str}, source)
  trees = _trees(there, content["sha256"])
  files = {name: _file(there, name) for name in content["files"]}
  model = restored(content, trees, source)
  return dataclasses.replace(
    model, files=files, description=content["description"]
  )


def leaves(model: Model) -> Arrays:
  """All parameters of a model: params/PATH and teacher_params/PATH -> array."""
  return {
    f"{tree}/{path}": np.asarray(leaf)
    for tree in TREES
    for path, leaf in flatten(getattr(model, tree)).items()
  }


def described(model: Model) -> dict[str, Any]:
  """What d2v_jax.json says of a model's configuration."""
  return {
    "modality": model.modality,
    "encoder": model.encoder,
    "objective": model.objective,
    "data": model.data,
    "tracked": sorted(model.teacher_params),
  }


def check(
  content: Mapping[str, Any], kinds: dict[str, type], source: epath.Path
) -> None:
  """Raises InterchangeError unless a d2v_jax.json has what it must have.

  Args:
    content: of the file.
    kinds: key -> type of what it has besides that of `described`.
    source: the file.
  """
  kinds = _DESCRIPTION | kinds
  wrong = [k for k, kind in kinds.items() if type(content.get(k)) is not kind]
  if wrong or content["modality"] not in MODALITIES:
    raise InterchangeError(
      f"{source} is damaged: {', '.join(wrong) or 'modality'} is not what "
      "export writes; export the run again."
    )
  if any(size > _LARGEST for size in _integers(content["encoder"])):
    raise InterchangeError(
      f"{source}: refused a size of the encoder above {_LARGEST}."
    )


def restored(
  content: Mapping[str, Any], trees: Mapping[str, Arrays], source: epath.Path
) -> Model:
  """The model that a d2v_jax.json describes.

  Args:
    content: of the file, which `check` has passed.
    trees: 'params' and 'teacher_params' -> arrays by our paths.
    source: the file, for errors.

  Raises:
    InterchangeError: it describes no model of ours, or one of other weights.
  """
  encoder = config_lib.plain(content["encoder"])
  params = trees["params"]
  try:
    model = assemble(
      Foreign(
        modality=content["modality"],
        encoder=resolved(content["modality"], encoder),
        objective=config_lib.plain(content["objective"]),
        arrays=params,
        rules=tuple(Rule(path, path) for path in params),
        channels=None if content["modality"] in _IMAGES else 3,
        teacher=trees["teacher_params"],
        tracked=tuple(content["tracked"]),
        data=config_lib.plain(content["data"]),
      ),
      str(source),
    )
  except (KeyError, TypeError, IndexError) as e:
    raise InterchangeError(
      f"{source} is damaged: it does not describe a model of ours ({e!r}); "
      "export the run again."
    ) from e
  return dataclasses.replace(model, encoder=encoder)


def _integers(value: Any) -> Iterator[int]:
  """All integers of nested dicts and lists."""
  if isinstance(value, int):
    yield value
  elif isinstance(value, dict | list):
    for part in value.values() if isinstance(value, dict) else value:
      yield from _integers(part)


def _trees(folder: Folder, digest: str) -> dict[str, Arrays]:
  """Tree -> arrays by path."""
  path = folder.path / WEIGHTS
  arrays = folder.arrays(WEIGHTS)
  if hashlib.sha256(path.read_bytes()).hexdigest() != digest:
    raise InterchangeError(
      f"{path} is not the file that {CONFIG} belongs to (their SHA-256 "
      "differ); export the run again, or copy both files again."
    )
  trees: dict[str, Arrays] = {tree: {} for tree in TREES}
  for name, array in arrays.items():
    tree, _, leaf = name.partition("/")
    if tree not in trees or not leaf:
      raise InterchangeError(
        f"{path}: {name} is in none of {', '.join(TREES)}."
      )
    trees[tree][leaf] = array
  return trees


def _file(folder: Folder, name: Any) -> bytes:
  if not isinstance(name, str) or not _FILE.fullmatch(name):
    raise InterchangeError(
      f"{folder.path / CONFIG}: refused the file {ascii(name)[:100]}; only "
      "those of a tokenizer may be there."
    )
  directory, _, base = name.partition("/")
  return Folder(folder.path / directory).read(base)
