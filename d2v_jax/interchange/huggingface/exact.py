"""What Hugging Face's files cannot hold, in two files beside them.

d2v_jax.json has our own configuration and the digests of the files that it
belongs to; d2v_jax.safetensors has the arrays that reading those files would
not give back bit for bit: the head of pretraining, the other one of student and
teacher, and what was written in another form.
"""

import dataclasses
import hashlib
import inspect
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from d2v_jax import config as config_lib
from d2v_jax.interchange.files import (
  WEIGHTS,
  Folder,
  to_bytes,
  to_json,
)
from d2v_jax.interchange.model import Foreign, Imported, assemble
from d2v_jax.interchange.weights import InterchangeError, Rule, Tree, flatten
from d2v_jax.modalities import MODALITIES

CONFIG = "d2v_jax.json"
ARRAYS = "d2v_jax.safetensors"
_VERSION = 1
_BELONGS_TO = (WEIGHTS, "config.json", ARRAYS)
_MOST_CONFIG = 16 << 20
_FIELDS = {
  "encoder": dict,
  "objective": dict,
  "data": dict,
  "params": list,
  "teacher_params": list,
  "tracked": list,
}


def resolved(modality: str, encoder: Mapping[str, Any]) -> dict[str, Any]:
  """Arguments of an encoder, those that are left out among them."""
  constructor = MODALITIES[modality].encoders[encoder["name"]]
  arguments = inspect.signature(constructor).parameters
  return {k: p.default for k, p in arguments.items()} | dict(encoder)


def write(
  model: Imported, which: str, readable: Tree, files: Mapping[str, bytes]
) -> dict[str, bytes]:
  """The two files.

  Args:
    model: what reading is to give back.
    which: whose weights `files` have, 'teacher' or 'student'.
    readable: parameters that reading `files` gives without these two.
    files: name -> bytes; model.safetensors and config.json of them count.
  """
  known = flatten(readable)
  leaves = {
    f"{name}/{path}": np.asarray(leaf)
    for name in ("params", "teacher_params")
    for path, leaf in flatten(getattr(model, name)).items()
  }
  others = {
    name: leaf
    for name, leaf in leaves.items()
    if not _same(known.get(name.partition("/")[2]), leaf)
  }
  files = {**files, ARRAYS: to_bytes(others)}
  content = dict(
    version=_VERSION,
    modality=model.modality,
    model=which,
    encoder=model.encoder,
    objective=model.objective,
    data=model.data,
    params=sorted(flatten(model.params)),
    teacher_params=sorted(flatten(model.teacher_params)),
    tracked=sorted(model.teacher_params),
    sha256={name: _digest(files[name]) for name in _BELONGS_TO},
  )
  return {ARRAYS: files[ARRAYS], CONFIG: to_json(content)}


def restore(
  folder: Folder, plain: Imported, inputs: jax.ShapeDtypeStruct
) -> Imported:
  """What was written, if the two files are there and belong to the others.

  They do if the SHA-256 of model.safetensors, config.json and
  d2v_jax.safetensors are those in d2v_jax.json; else other software has changed
  the model since, and a note says that they were left out.

  Args:
    folder: with or without the two files.
    plain: what the other files say.
    inputs: example of the encoder's input, [1, ...].

  Raises:
    InterchangeError: the files belong together, and are damaged nevertheless.
  """
  if not folder.has(CONFIG):
    return plain
  source = str(folder.path / CONFIG)
  content = folder.json(CONFIG, _MOST_CONFIG)
  found = {
    name: _digest((folder.path / name).read_bytes())
    for name in _BELONGS_TO
    if folder.has(name)
  }
  if content.get("version") != _VERSION or content.get("sha256") != found:
    note = (
      f"{CONFIG} was left out: it is of another version, or the files beside "
      "it were changed since (their SHA-256 differ)"
    )
    return dataclasses.replace(plain, notes=(*plain.notes, note))
  wrong = [k for k, kind in _FIELDS.items() if type(content.get(k)) is not kind]
  if wrong or content.get("modality") != plain.modality:
    raise InterchangeError(
      f"{source} is damaged: {', '.join(wrong) or 'modality'} is not what "
      "export writes; without the file the rest can be imported."
    )
  known, others = flatten(plain.params), folder.arrays(ARRAYS)
  trees = {
    name: _leaves(name, content[name], known, others, source)
    for name in ("params", "teacher_params")
  }
  encoder = config_lib.plain(content["encoder"])
  try:
    whole = assemble(
      Foreign(
        modality=plain.modality,
        encoder=resolved(plain.modality, encoder),
        objective=config_lib.plain(content["objective"]),
        inputs=inputs,
        arrays=trees["params"],
        rules=tuple(Rule(path, path) for path in trees["params"]),
        teacher=trees["teacher_params"],
        tracked=tuple(content["tracked"]),
        data=plain.data | config_lib.plain(content["data"]),
        files=plain.files,
      ),
      source,
    )
  except KeyError as e:  # a name in it that is not ours
    raise InterchangeError(f"{source} is damaged: {e} is not known.") from e
  return dataclasses.replace(
    whole, encoder=encoder, description=plain.description
  )


def _leaves(tree, paths, known, others, source):
  found = {
    path: others.get(f"{tree}/{path}", known.get(path))
    for path in map(str, paths)
  }
  missing = [path for path, leaf in found.items() if leaf is None]
  if missing:
    raise InterchangeError(
      f"{source} names {len(missing)} parameters that are nowhere, such as "
      f"{tree}/{missing[0]}; export the run again."
    )
  return found


def _same(known, leaf):
  return (
    known is not None
    and (known.dtype, known.shape) == (leaf.dtype, leaf.shape)
    and known.tobytes() == leaf.tobytes()
  )


def _digest(content):
  return hashlib.sha256(content).hexdigest()
