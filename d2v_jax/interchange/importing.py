"""The command `convert import`: what a source is, read, shown and written."""

import argparse
import dataclasses
import hashlib
import re
import sys
import tempfile

from etils import epath

from d2v_jax.interchange import native
from d2v_jax.interchange import run as runs
from d2v_jax.interchange.fairseq import reader as fairseq
from d2v_jax.interchange.huggingface import parity
from d2v_jax.interchange.huggingface import reader as huggingface
from d2v_jax.interchange.model import Imported
from d2v_jax.interchange.weights import InterchangeError, flatten
from d2v_jax.objectives import SUB_TREES

_RUN_FILE = "run.json"


def run(args: argparse.Namespace) -> None:
  """Makes a run of args.source.

  Raises:
    ValueError: it cannot be imported; then nothing is written.
  """
  source, dest = epath.Path(args.source), epath.Path(args.dest)
  runs.require_free(dest)
  kind = _kind(source)
  _say(f"reading {source}")
  imported = _READERS[kind](source, args)
  for line in describe(imported):
    print(line)
  if source.is_dir():
    print(f"licence, by its README: {_licence(source) or 'not stated'}")
  compared = _compare(kind, source, imported, required=args.check)
  print(compared)
  _say(f"writing {dest}")
  origin = {
    "source": str(source),
    "sha256": _sha256(source),
    "format": kind,
    "description": imported.description,
    "notes": [*imported.notes, compared],
  }
  written = runs.write(dest, imported, origin)
  print(f"wrote {written}")


def _kind(source) -> str:
  """What a source is: 'fairseq', 'hf' or 'safetensors'."""
  if not source.exists():
    raise ValueError(f"{source} does not exist; check SOURCE.")
  if not source.is_dir():
    return "fairseq"
  have = {path.name for path in source.iterdir()}
  if _RUN_FILE in have:
    raise ValueError(
      f"{source} is a run already; use it as it is, with --config.init_from."
    )
  # A folder for transformers may have a file of ours, too.
  if huggingface.CONFIG in have:
    return "hf"
  if native.CONFIG in have:
    return "safetensors"
  raise ValueError(
    f"{source} has neither {huggingface.CONFIG} (Hugging Face) nor "
    f"{native.CONFIG} (an export of ours); give such a folder, or a .pt file."
  )


def _read_fairseq(source, args):
  return fairseq.read(
    source, dictionary=args.dictionary, encoder_only=args.encoder_only
  )


def _read_hf(source, args):
  return _adjusted(huggingface.read(source), args)


def _read_safetensors(source, args):
  return _adjusted(native.read(source), args)


_READERS = {
  "fairseq": _read_fairseq,
  "hf": _read_hf,
  "safetensors": _read_safetensors,
}


def _adjusted(imported, args):
  """Applies flags that a reader does not know."""
  if args.dictionary is not None:
    raise ValueError(
      "--dictionary is for fairseq's files only: the folder has its own."
    )
  if not args.encoder_only:
    return imported

  return _encoder_alone(imported)


def _encoder_alone(imported):
  def encoder(tree):
    return {name: part for name, part in tree.items() if name not in SUB_TREES}

  return dataclasses.replace(
    imported,
    objective={},
    params=encoder(imported.params),
    teacher_params=encoder(imported.teacher_params),
  )


def describe(imported: Imported) -> list[str]:
  """What a model is, a line each, and its notes."""

  def count(tree):
    return sum(leaf.size for leaf in flatten(tree).values())

  def size(tree):
    return f"{count(tree):,} parameters"

  e, averaged = imported.encoder, imported.teacher_params
  teacher = "no teacher in it; pretraining on begins with a copy of the student"
  if averaged:
    teacher = f"{size(averaged)} in {', '.join(sorted(averaged))}"
  depth = str(e["depth"])
  if e.get("prenet_depth"):
    depth = f"{e['prenet_depth']} + {depth}"
  objective = imported.objective.get("name", "none: the encoder alone")
  return [
    f"model: {imported.description}",
    f"modality: {imported.modality}",
    f"encoder: {depth} layers of width {e['width']}",
    f"student: {size(imported.params)}",
    f"teacher: {teacher}",
    f"objective: {objective}",
    *(f"note: {note}" for note in imported.notes),
  ]


def _licence(folder):
  """What the front matter of a folder's README states, or None."""
  path = folder / "README.md"
  if not path.exists() or path.stat().length > 2**20:
    return None
  content = path.read_bytes().decode("utf-8", "replace")
  front = re.match(r"---\r?\n(.*?)\r?\n---", content, re.DOTALL)
  found = front and re.search(r"^license:[ \t]*(\S.*)$", front[1], re.MULTILINE)
  return found and found[1].strip()[:80]


def _compare(kind, source, imported, *, required):
  """The largest difference from other activations, in a line."""
  if required is False:
    return "not compared with other activations: --no-check"
  _say("comparing with transformers, where it is installed")
  whose = "the source's own activations"
  try:
    if kind == "hf":
      found, reason = parity.check(source, imported)
    else:
      # There is no other implementation of the file's own kind; but there is
      # one of the network, which these weights must fit, too.
      whose = "those of transformers with the same weights"
      found, reason = _check_in_transformers(imported)
  except InterchangeError as e:
    found, reason = None, str(e)
  if found is None:
    if required:
      raise ValueError(f"--check: {reason}")
    return f"not compared with other activations: {reason}"
  name = max(found, key=found.get)
  return (
    f"largest difference of activations from {whose}: {found[name]:.2g} "
    f"({name}, of {len(found)} compared)"
  )


def _check_in_transformers(imported):
  alone = _encoder_alone(imported)
  with tempfile.TemporaryDirectory() as folder:
    huggingface.write(f"{folder}/model", alone, "student")
    return parity.check(f"{folder}/model", alone)


def _sha256(source):
  """Of a file, or of the names and hashes of a folder's files."""
  if source.is_dir():
    files = sorted(p for p in source.iterdir() if not p.is_dir())
    lines = [f"{p.name} {_sha256(p)}\n" for p in files]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
  with source.open("rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()


def _say(text):
  print(text, file=sys.stderr, flush=True)
