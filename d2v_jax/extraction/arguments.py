"""The command line of `d2v features`."""

import argparse
from collections.abc import Sequence

from d2v_jax.extraction.formats import FORMATS

BATCH_SIZES = {
  "vision": 64,
  "speech": 8,
  "spectrogram": 64,
  "signal": 64,
  "text": 64,
}


def parse(argv: Sequence[str] | None, description: str) -> argparse.Namespace:
  """Reads the command line; leaves the process if it is none."""
  parser = argparse.ArgumentParser(
    prog="d2v features",
    description=description,
    formatter_class=argparse.RawDescriptionHelpFormatter,
    allow_abbrev=False,
  )
  add = parser.add_argument
  add("--run", required=True, help="workdir of a run or of an import")
  add(
    "--input",
    required=True,
    metavar="PATH",
    help="a folder, one file, or a table (.csv, .tsv, .jsonl, .parquet) with a "
    "column `path`, or `text` for text; of plain text each line is an example; "
    "of signals also .npz and .ts",
  )
  add(
    "--output",
    required=True,
    metavar="FILE",
    help="a file, or gs://bucket/path; its ending is the format",
  )
  add("--format", help=f"{', '.join(FORMATS)}; default: by the ending")
  add(
    "--overwrite",
    action="store_true",
    help="replace the output, and begin anew where parts of it are of another "
    "request",
  )
  network = parser.add_argument_group("network")
  add = network.add_argument
  add("--model", help="teacher or student; default: teacher, if there is one")
  add("--step", type=int, help="of the checkpoint; default: the newest")
  add(
    "--layers",
    default="final",
    help="final (default: the network's output), numbers from 0 on such as 7 "
    "or 7,8 (averaged) or -1 (the last), or all: each layer, then the output",
  )
  add(
    "--pool",
    default="mean",
    help="how an example's tokens become one vector: mean (default), cls, "
    "mean_std (mean and standard deviation), cells:R or "
    "cells:RxC (of images and spectrograms, means of R rows and C columns), "
    "segments:S (of all others, S means in time); or tokens: a vector for "
    "each",
  )
  add(
    "--image_size",
    type=int,
    metavar="S",
    help="vision: side of the input in pixels; positions are interpolated",
  )
  add(
    "--resize_ratio",
    metavar="R",
    help="vision: the shorter side becomes R times the input's, then the "
    "centre is cut out; none: all is squeezed into the square; default: as "
    "the run was evaluated, else 256/224",
  )
  add(
    "--range",
    metavar="LOW,HIGH",
    help="vision: the values that become black and white, for images of more "
    "than 8 bits; default: as in training",
  )
  add(
    "--background",
    type=int,
    metavar="GREY",
    help="vision: 0 to 255, on which transparent images are laid; default: as "
    "in training",
  )
  add(
    "--max_pixels",
    type=int,
    metavar="N",
    help="vision: images of more are left out; default: as in training",
  )
  source = parser.add_argument_group("input")
  add = source.add_argument
  add("--split", help="of a table, the rows with this `split`")
  add("--label", metavar="COLUMN", help="of a table, the column of classes")
  add(
    "--label_separator",
    metavar="TEXT",
    help="what parts the classes of a row that has several, such as ','",
  )
  add(
    "--column",
    metavar="A[,B]",
    help="text tables: column of the text, or of the two texts of a pair",
  )
  add(
    "--tokenizer",
    metavar="PATH",
    help="text, where the run does not name it: tokenizer.json, or a folder "
    "with vocab.json and merges.txt",
  )
  add(
    "--max_seconds",
    type=float,
    help="speech, signals: longer is an error, or cut; default 60",
  )
  add(
    "--max_tokens",
    type=int,
    help="text: likewise; default: what the network takes",
  )
  add(
    "--cut",
    action="store_true",
    help="speech, signals, text: of what is too long take the beginning",
  )
  add(
    "--max_skipped",
    type=int,
    default=100,
    metavar="N",
    help="give up when more examples cannot be used; default 100",
  )
  work = parser.add_argument_group("computing")
  add = work.add_argument
  add(
    "--batch_size",
    type=int,
    help="examples at a time on all devices; changes the features by rounding "
    f"only; default: {', '.join(f'{n} {m}' for m, n in BATCH_SIZES.items())}",
  )
  add("--num_devices", type=int, help="default: all")
  add(
    "--compute_dtype",
    default="float32",
    help="of matrix products: float32 (default) or bfloat16",
  )
  return parser.parse_args(argv)
