"""The command `convert inspect`: what a source holds, and if it can come in."""

import argparse
import collections
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from etils import epath

from d2v_jax.interchange import importing, native
from d2v_jax.interchange.files import Folder
from d2v_jax.interchange.torch_file import reader as torch_file

_KINDS = {
  "fairseq": "a file that torch.save wrote",
  "hf": "a Hugging Face folder",
  "timm": "a folder of timm's",
  "safetensors": "an export of ours",
}


def run(args: argparse.Namespace) -> None:
  """Says what args.source holds, whether it can be imported, or why not.

  Raises:
    ValueError: nothing in it can be read.
  """
  source, named = importing.located(args.source)
  kind = importing.kind_of(source)
  print(f"{named}: {_KINDS[kind]}")
  for line in _content(kind, source):
    print(line)
  try:
    model = importing.read(kind, source, args)
  except ValueError as e:
    print(f"cannot be imported: {e}")
    if kind == "fairseq" and not args.encoder_only:
      _try_alone(source, args)
    return
  for line in importing.describe(model):
    print(line)
  print("can be imported")


def _try_alone(source: epath.Path, args: argparse.Namespace) -> None:
  """Says whether the encoder could come in without what is around it."""
  alone = argparse.Namespace(dictionary=args.dictionary, encoder_only=True)
  try:
    importing.read("fairseq", source, alone)
  except ValueError:
    print("nor as an encoder alone")
  else:
    print("as an encoder alone it can be: --encoder_only")


def _content(kind: str, source: epath.Path) -> Iterator[str]:
  """What lies in a source, a line each."""
  if kind != "fairseq":
    folder = Folder(source)
    names = sorted(p.name for p in source.iterdir() if not p.is_dir())
    yield f"files: {', '.join(names)}"
    ours = kind == "safetensors"
    arrays = folder.arrays(native.WEIGHTS) if ours else folder.weights()
    yield f"holds {_counted(arrays)}"
    return
  content = torch_file.load(source)
  if not isinstance(content, Mapping):
    yield f"holds {_counted(content)}"
    return
  for name, value in content.items():
    yield f"{name}: {_counted(value)}"


def _counted(value: Any) -> str:
  """Arrays in a value, at any depth, or the value where there are none."""
  found = list(_arrays(value))
  if not found:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
  kinds = collections.Counter(str(x.dtype) for x in found)
  numbers = sum(x.size for x in found)
  return f"{len(found)} arrays, {numbers:,} numbers ({', '.join(kinds)})"


def _arrays(value: Any) -> Iterator[np.ndarray]:
  if isinstance(value, np.ndarray):
    yield value
  elif isinstance(value, Mapping):
    for part in value.values():
      yield from _arrays(part)
  elif isinstance(value, list | tuple):
    for part in value:
      yield from _arrays(part)
