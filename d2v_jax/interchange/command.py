"""Models from elsewhere to runs of ours, and runs to files for elsewhere.

  d2v convert import SOURCE DEST
  d2v convert inspect SOURCE
  d2v convert export RUN DEST --format=hf

SOURCE is a .pt or .pth file of data2vec 1.0 or 2.0 as fairseq writes it, or of
data2vec's vision release, pretrained or fine-tuned; a folder of Hugging
Face's Data2VecVision, Data2VecAudio or Data2VecText, of BERT, RoBERTa, ViT,
BEiT, wav2vec 2.0 or HuBERT, or of timm's ViTs; an export of ours; or
hf://OWNER/NAME, such a folder on the Hugging Face Hub (extra `hf`), which is
downloaded unless it is in the Hub's cache.
Nothing in it is executed.
DEST becomes a run, which can be probed, fine-tuned and pretrained further:

  d2v convert import audio_base_ls.pt runs/imported
  d2v train finetune_speech --workdir=RUN \\
    --config.init_from=runs/imported

`inspect` says what a source holds and whether it can be imported, or which of
its options is in the way, and writes nothing.

Exports of a RUN: `hf`, a folder that transformers opens; `safetensors`, with a
JSON of the config; `onnx`, a folder with model.onnx for any batch size and
length (extra `onnx`); `jax`, the compiled feature function for any batch size.

Exit status: 0 done; 2 a wrong command line or source, and nothing is written.
With D2V_TRACEBACK=1 in the environment an error also shows where it came from.
"""

import argparse
from collections.abc import Sequence

from d2v_jax import bad_input

FORMATS = ("hf", "safetensors", "onnx", "jax")


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the command line; returns the exit status."""
  args = _parse(argv)
  try:
    _run(args)
  except (ValueError, OSError) as e:
    return bad_input.report(e)
  return 0


def _run(args):
  # Only now: --help and wrong flags need no JAX.
  from d2v_jax.interchange import exporting, importing, inspecting

  {
    "import": importing.run,
    "inspect": inspecting.run,
    "export": exporting.run,
  }[args.command](args)


def _layers(text):
  if text == "all":
    return text
  return tuple(int(number) for number in text.split(","))


def _parse(argv):
  parser = argparse.ArgumentParser(
    prog="d2v convert",
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  commands = parser.add_subparsers(dest="command", required=True)
  importer = commands.add_parser("import", help="make a run of a foreign model")
  inspector = commands.add_parser("inspect", help="say what a source holds")
  for either in (importer, inspector):
    either.add_argument(
      "source", help="a .pt file, a folder, or hf://OWNER/NAME"
    )
    either.add_argument(
      "--dictionary",
      help="of fairseq's files: dict.ltr.txt of a CTC model, or the folder "
      "with dict.txt, encoder.json and vocab.bpe of a text model, where they "
      "are not beside SOURCE",
    )
    either.add_argument(
      "--encoder_only",
      action="store_true",
      help="leave head and objective out, also where they cannot be imported",
    )
  importer.add_argument("dest", help="workdir of the run to make; must be free")
  importer.add_argument(
    "--check",
    action=argparse.BooleanOptionalAction,
    help="compare activations with those of the same network in PyTorch; by "
    "default where torch and transformers are installed",
  )
  exporter = commands.add_parser("export", help="write a run for elsewhere")
  exporter.add_argument("run", help="workdir of a run")
  exporter.add_argument("dest", help="folder (for jax: file) to write")
  exporter.add_argument("--format", choices=FORMATS, required=True)
  exporter.add_argument(
    "--model",
    choices=("teacher", "student"),
    help="whose weights; the teacher's where there is one",
  )
  exporter.add_argument(
    "--step", type=int, help="of the checkpoint; the newest"
  )
  exporter.add_argument(
    "--push",
    metavar="OWNER/NAME",
    help="upload the folder to this repository of the Hugging Face Hub, which "
    "is made, private, if there is none",
  )
  features = exporter.add_argument_group("features of --format=jax")
  features.add_argument(
    "--layers", type=_layers, help="mean of these, such as 5,11; or all"
  )
  features.add_argument(
    "--pool", default="mean", help="as for `d2v features`: mean, cls, ..."
  )
  features.add_argument(
    "--length", type=int, help="samples or tokens of all inputs; any"
  )
  return parser.parse_args(argv)
