"""The command `convert import`: what a source is, read, shown and written."""

import argparse
import dataclasses
import hashlib
import re
import sys
import tempfile

from etils import epath

from d2v_jax import bad_input
from d2v_jax.interchange import hub, native, timm_vit
from d2v_jax.interchange import run as runs
from d2v_jax.interchange.fairseq import reader as fairseq
from d2v_jax.interchange.huggingface import folder as huggingface
from d2v_jax.interchange.huggingface import parity
from d2v_jax.interchange.model import Model
from d2v_jax.interchange.weights import InterchangeError, Tree, flatten
from d2v_jax.objectives import SUB_TREES

_RUN_FILE = "run.json"


def run(args: argparse.Namespace) -> None:
  """Makes a run of args.source.

  Raises:
    ValueError: it cannot be imported; then nothing is written.
  """
  dest = epath.Path(args.dest)
  runs.require_free(dest)
  source, named = located(args.source)
  kind = kind_of(source)
  _say(f"reading {named}")
  model = read(kind, source, args)
  for line in describe(model):
    print(line)
  if source.is_dir():
    print(f"licence, by its README: {_licence(source) or 'not stated'}")
  compared = _compare(kind, source, model, required=args.check)
  print(compared)
  _say(f"writing {dest}")
  origin = {
    "source": named,
    "sha256": _sha256(source),
    "format": kind,
    "description": model.description,
    "notes": [*model.notes, compared],
  }
  written = runs.write(dest, model, origin)
  print(f"wrote {written}")


def located(source: str) -> tuple[epath.Path, str]:
  """Where a source lies, downloaded if it must be, and what it is called.

  Raises:
    ValueError: it cannot be downloaded.
  """
  if not source.startswith(hub.PREFIX):
    return epath.Path(source), source
  _say(f"looking for {source}")
  return hub.fetch(source)


def kind_of(source: epath.Path) -> str:
  """What a source is: 'fairseq', 'hf', 'timm' or 'safetensors'.

  Raises:
    ValueError: it does not exist, or is something else.
  """
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
    return "timm" if timm_vit.is_one(source) else "hf"
  if native.CONFIG in have:
    return "safetensors"
  raise ValueError(
    f"{source} has neither {huggingface.CONFIG} (Hugging Face) nor "
    f"{native.CONFIG} (an export of ours); give such a folder, or a .pt file."
  )


def read(kind: str, source: epath.Path, args: argparse.Namespace) -> Model:
  """Reads a source.

  Args:
    kind: from `kind_of`.
    source: a file or a folder.
    args: with `dictionary` and `encoder_only`, as the command line has them.

  Raises:
    ValueError: it cannot be imported.
  """
  if kind == "fairseq":
    return fairseq.read(
      source, dictionary=args.dictionary, encoder_only=args.encoder_only
    )
  if args.dictionary is not None:
    raise ValueError(
      "--dictionary is for fairseq's files only: the folder has its own."
    )
  readers = {"hf": huggingface, "timm": timm_vit, "safetensors": native}
  model = readers[kind].read(source)
  return _encoder_alone(model) if args.encoder_only else model


def _encoder_alone(model: Model) -> Model:
  def encoder(tree: Tree) -> Tree:
    return {name: part for name, part in tree.items() if name not in SUB_TREES}

  return dataclasses.replace(
    model,
    objective={},
    params=encoder(model.params),
    teacher_params=encoder(model.teacher_params),
  )


def describe(model: Model) -> list[str]:
  """What a model is, a line each, and its notes."""

  def size(tree: Tree) -> str:
    return f"{sum(x.size for x in flatten(tree).values()):,} parameters"

  e, averaged = model.encoder, model.teacher_params
  teacher = "no teacher in it; pretraining on begins with a copy of the student"
  if averaged:
    teacher = f"{size(averaged)} in {', '.join(sorted(averaged))}"
  depth = str(e["depth"])
  if e.get("prenet_depth"):
    depth = f"{e['prenet_depth']} + {depth}"
  return [
    f"model: {model.description}",
    f"modality: {model.modality}",
    f"encoder: {depth} layers of width {e['width']}",
    f"student: {size(model.params)}",
    f"teacher: {teacher}",
    f"objective: {model.objective.get('name', 'none: the encoder alone')}",
    *(f"note: {note}" for note in model.notes),
  ]


def _licence(folder: epath.Path) -> str | None:
  """What the front matter of a folder's README states, or None."""
  path = folder / "README.md"
  if not path.exists() or path.stat().length > 2**20:
    return None
  content = path.read_bytes().decode("utf-8", "replace")
  front = re.match(r"---\r?\n(.*?)\r?\n---", content, re.DOTALL)
  line = front and re.search(r"^license:[ \t]*(\S.*)$", front[1], re.MULTILINE)
  return line[1].strip()[:80] if line else None


def _compare(
  kind: str, source: epath.Path, model: Model, *, required: bool | None
) -> str:
  """The largest difference from other activations, in a line."""
  if required is False:
    return "not compared with other activations: --no-check"
  _say("comparing with PyTorch, where it is installed")
  whose = "the source's own activations"
  try:
    if kind == "hf":
      differences, reason = parity.check(source, model)
    else:
      # There is no other implementation of the file's own kind; but there is
      # one of the network, which these weights must fit, too.
      whose = "those of PyTorch with the same weights"
      alone = _encoder_alone(model)
      with tempfile.TemporaryDirectory() as folder:
        huggingface.write(f"{folder}/model", alone, "student")
        differences, reason = parity.check(f"{folder}/model", alone)
  except InterchangeError as e:
    differences, reason = None, str(e)
  except Exception as e:
    # The comparison is optional, whatever the other library makes of a model.
    if bad_input.shows_tracebacks():
      raise
    differences = None
    reason = (
      f"PyTorch does not compute this model ({type(e).__name__}; with "
      "D2V_TRACEBACK=1 in the environment the import stops there and shows it)"
    )
  if differences is None:
    if required:
      raise ValueError(f"--check: {reason}")
    return f"not compared with other activations: {reason}"
  difference, name = max((x, name) for name, x in differences.items())
  return (
    f"largest difference of activations from {whose}: {difference:.2g} "
    f"({name}, of {len(differences)} compared)"
  )


def _sha256(source: epath.Path) -> str:
  """Of a file, or of the names and hashes of a folder's files."""
  if source.is_dir():
    files = sorted(p for p in source.iterdir() if not p.is_dir())
    lines = [f"{p.name} {_sha256(p)}\n" for p in files]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
  with source.open("rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()


def _say(text: str) -> None:
  print(text, file=sys.stderr, flush=True)
