"""The command `convert export`: a run, written for elsewhere."""

import argparse
import dataclasses
import sys

from d2v_jax import pretrained
from d2v_jax.interchange import (
  hub,
  jax_export,
  model_card,
  native,
  onnx_export,
)
from d2v_jax.interchange import run as runs
from d2v_jax.interchange.huggingface import folder as huggingface
from d2v_jax.interchange.huggingface import text_tokenizer
from d2v_jax.interchange.model import Model
from d2v_jax.training.checkpoints.stored_run import StoredRun


def run(args: argparse.Namespace) -> None:
  """Writes args.run to args.dest.

  Raises:
    ValueError: it cannot be exported in this format.
  """
  flags = {"layers": None, "pool": "mean", "length": None}
  given = [f"--{k}" for k, v in flags.items() if getattr(args, k) != v]
  if given and args.format != "jax":
    raise ValueError(f"{', '.join(given)}: for --format=jax only.")
  if args.push is not None:
    if args.format == "jax":
      raise ValueError(
        "--push: --format=jax writes a file; only folders are pushed, those of "
        "hf, safetensors and onnx."
      )
    hub.check_push(args.push)
  runs.require_free(args.dest)
  print(f"reading {args.run}", file=sys.stderr, flush=True)
  for note in _WRITERS[args.format](args):
    print(f"note: {note}")
  print(f"wrote {args.dest}: {args.format}")
  if args.push is not None:
    print(f"pushed to {hub.push(args.dest, args.push)}")


def _write_hf(args: argparse.Namespace) -> tuple[str, ...]:
  model, which = _model_and_which(args)
  return huggingface.write(args.dest, model, which, model_card.facts(args.run))


def _write_onnx(args: argparse.Namespace) -> tuple[str, ...]:
  return onnx_export.write(args.dest, *_model_and_which(args))


def _model_and_which(args: argparse.Namespace) -> tuple[Model, str]:
  model = _model(args)
  if args.model == "teacher" and not model.teacher_params:
    raise ValueError(f"{args.run} has no teacher; leave --model out.")
  return model, args.model or "teacher"


def _write_safetensors(args: argparse.Namespace) -> tuple[str, ...]:
  if args.model:
    raise ValueError("--model: safetensors hold both student and teacher.")
  return native.write(args.dest, _model(args), model_card.facts(args.run))


def _write_jax(args: argparse.Namespace) -> tuple[str, ...]:
  which = args.model
  if which is None:
    averaged = StoredRun(args.run, args.step).averaged
    which = "teacher" if averaged else "student"
  model = pretrained.load(args.run, which, step=args.step, num_devices=1)
  return jax_export.write(
    args.dest, model, layers=args.layers, pool=args.pool, length=args.length
  )


def _model(args: argparse.Namespace) -> Model:
  """The run; the tokenizer that it only names becomes files."""
  model = runs.read(args.run, step=args.step)
  spec = model.data.get("tokenizer")
  files = text_tokenizer.of_run(spec) if spec else {}
  return dataclasses.replace(model, files=files)


_WRITERS = {
  "hf": _write_hf,
  "safetensors": _write_safetensors,
  "onnx": _write_onnx,
  "jax": _write_jax,
}
