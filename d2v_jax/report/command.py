"""Writes a page about a run, or about several beside one another.

  d2v report runs/digits
  d2v report runs/seed0 runs/seed1 --output=seeds.html

The page is one file that needs no network and runs no script: curves and
results beside what they are compared with, health, the data as the network sees
them, features of tokens, nearest neighbours, confusion, cost, config and
provenance. docs/report.md says what is on it. What cannot be shown is named,
with the reason. Networks run on the CPU, beside what may train elsewhere,
unless JAX_PLATFORMS says otherwise.
"""

import argparse
import os
from collections.abc import Sequence

from d2v_jax import bad_input

_STATUS = """
Exit status: 0 the page was written, whatever could not be shown; 2 a wrong
command line, or no run. With D2V_TRACEBACK=1 in the environment an error also
shows where it came from.
"""


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns its exit status."""
  args = _parser().parse_args(argv)
  os.environ.setdefault("JAX_PLATFORMS", "cpu")
  return bad_input.status_of(_run, args)


def _parser() -> argparse.ArgumentParser:
  parser = argparse.ArgumentParser(
    prog="d2v report",
    description=__doc__,
    epilog=_STATUS,
    formatter_class=argparse.RawDescriptionHelpFormatter,
    allow_abbrev=False,
  )
  parser.add_argument(
    "runs",
    nargs="+",
    metavar="RUN",
    help="workdir of a run, a probe or an import",
  )
  parser.add_argument(
    "--output",
    type=_path,
    metavar="FILE",
    help="the page; by default report.html in the first RUN",
  )
  parser.add_argument(
    "--pictures",
    type=_path,
    metavar="DIR",
    help="write the pictures as SVG files, too",
  )
  parser.add_argument(
    "--examples",
    type=_positive,
    default=2000,
    metavar="N",
    help="at most so many examples neighbours are looked for among, and a "
    "probe learns from, by default %(default)s",
  )
  return parser


def _positive(text: str) -> int:
  if not text.isdecimal() or int(text) < 1:
    raise argparse.ArgumentTypeError(f"must be 1 or more, got {text!r}")
  return int(text)


def _path(text: str) -> str:
  if not text.strip():
    raise argparse.ArgumentTypeError(
      "it is empty, as that of a shell's variable that is not set"
    )
  return text


def _run(args: argparse.Namespace) -> int:
  from etils import epath

  from d2v_jax.report import of_runs, picture_files
  from d2v_jax.report.after_training import FILE

  output = epath.Path(args.output or epath.Path(args.runs[0]) / FILE)
  page = of_runs.page(args.runs, args.examples)
  text = page.html()
  output.write_text(text)
  print(f"wrote {output}: {len(text) / 1e6:.2f} MB")
  if args.pictures:
    folder = epath.Path(args.pictures)
    folder.mkdir(parents=True, exist_ok=True)
    files = picture_files.files(page)
    for name, picture in files.items():
      (folder / name).write_text(picture)
    print(f"wrote {len(files)} pictures (SVG) to {folder}")
  return 0
