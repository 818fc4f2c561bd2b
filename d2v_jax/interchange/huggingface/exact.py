"""What Hugging Face's files cannot hold, in two files beside them.

d2v_jax.json has our own configuration and the digests of the files that it
belongs to; d2v_jax.safetensors has the arrays that reading those files would
not give back bit for bit: the head of pretraining, the other one of student and
teacher, and what was written in another form.
"""

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from etils import epath

from d2v_jax.interchange import native
from d2v_jax.interchange.files import WEIGHTS, Folder, to_bytes, to_json
from d2v_jax.interchange.model import Model
from d2v_jax.interchange.weights import Arrays, InterchangeError, Tree, flatten

CONFIG = native.CONFIG
ARRAYS = "d2v_jax.safetensors"
_VERSION = 1
_BELONGS_TO = (
  WEIGHTS,
  ARRAYS,
  "config.json",
  "merges.txt",
  "preprocessor_config.json",
  "processor_config.json",
  "tokenizer.json",
  "tokenizer_config.json",
  "vocab.json",
)
_MOST_CONFIG = 16 << 20
# Of config.data, what stands for files.
_FILES = ("tokenizer",)


def write(
  model: Model, which: str, readable: Tree, files: Mapping[str, bytes]
) -> dict[str, bytes]:
  """The two files.

  Args:
    model: what reading is to give back.
    which: whose weights `files` have, 'teacher' or 'student'.
    readable: parameters that reading `files` gives without these two.
    files: name -> bytes; those of _BELONGS_TO count.
  """
  known = flatten(readable)
  others = {
    name: leaf
    for name, leaf in native.leaves(model).items()
    if not _same(known.get(name.partition("/")[2]), leaf)
  }
  files = {**files, ARRAYS: to_bytes(others)}
  content = {
    "version": _VERSION,
    "model": which,
    **native.described(model),
    **{tree: sorted(flatten(getattr(model, tree))) for tree in native.TREES},
    "sha256": {k: _digest(files[k]) for k in _BELONGS_TO if k in files},
  }
  return {ARRAYS: files[ARRAYS], CONFIG: to_json(content)}


def restore(folder: Folder, plain: Model) -> Model:
  """What was written, if the two files are there and belong to the others.

  They do if the SHA-256 of the others are those in d2v_jax.json; else other
  software has changed the model since, or how its inputs are prepared, and a
  note says that they were left out.

  Args:
    folder: with or without the two files.
    plain: what the other files say.

  Raises:
    InterchangeError: the files belong together, and are damaged nevertheless.
  """
  if not folder.has(CONFIG):
    return plain
  source = folder.path / CONFIG
  content = folder.json(CONFIG, _MOST_CONFIG)
  digests = {
    name: _digest((folder.path / name).read_bytes())
    for name in _BELONGS_TO
    if folder.has(name)
  }
  if content.get("version") != _VERSION or content.get("sha256") != digests:
    note = (
      f"{CONFIG} was left out: it is of another version, or the files beside "
      "it were changed since (their SHA-256 differ)"
    )
    return dataclasses.replace(plain, notes=(*plain.notes, note))
  if content.get("modality") != plain.modality:
    content["modality"] = None  # refused
  native.check(content, dict.fromkeys(native.TREES, list), source)
  known, others = flatten(plain.params), folder.arrays(ARRAYS)
  trees = {
    tree: _leaves(tree, content[tree], known, others, source)
    for tree in native.TREES
  }
  model = native.restored(content, trees, source)
  return dataclasses.replace(
    model,
    data=model.data | {k: v for k, v in plain.data.items() if k in _FILES},
    files=plain.files,
    description=plain.description,
  )


def _leaves(
  tree: str, paths: list[Any], known: Arrays, others: Arrays, source: epath.Path
) -> Arrays:
  leaves = {
    path: others.get(f"{tree}/{path}", known.get(path))
    for path in map(str, paths)
  }
  there = {path: leaf for path, leaf in leaves.items() if leaf is not None}
  missing = sorted(leaves.keys() - there.keys())
  if missing:
    raise InterchangeError(
      f"{source} names {len(missing)} parameters that are nowhere, such as "
      f"{tree}/{missing[0]}; export the run again."
    )
  return there


def _same(known: np.ndarray | None, leaf: np.ndarray) -> bool:
  return (
    known is not None
    and (known.dtype, known.shape) == (leaf.dtype, leaf.shape)
    and known.tobytes() == leaf.tobytes()
  )


def _digest(content: bytes) -> str:
  return hashlib.sha256(content).hexdigest()
