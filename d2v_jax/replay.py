"""Repeats a step that was not finite, and says where that began.

  d2v replay runs/digits/bad_steps/1234

BUNDLE is what a run keeps of such a step in its workdir. It begins with the
newest checkpoint from before the step that is kept, or as the run began, and
repeats the steps from there to it on the run's data; the workdir stays as it
is. Then the step is done operation by operation, first the loss, then the
gradients: which module, in which layer, first has a number that is not finite,
and in which examples. On devices of another kind or number the last digits may
differ from the run's.
"""

import argparse
import functools
import sys
from collections.abc import Sequence

from d2v_jax import bad_input, run_arguments

_STATUS = """
Exit status: 0 done, whatever was found; 2 a wrong command line, bundle or
config, or data that are not there. With D2V_TRACEBACK=1 in the environment an
error also shows where it came from.
"""


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns its exit status."""
  flags, overrides = run_arguments.parse_flags(_parser(), argv)
  return bad_input.status_of(_run, flags.bundle, overrides)


def _parser() -> argparse.ArgumentParser:
  parser = argparse.ArgumentParser(
    prog="d2v replay",
    description=__doc__,
    epilog=run_arguments.OVERRIDES + _STATUS,
    formatter_class=argparse.RawDescriptionHelpFormatter,
    allow_abbrev=False,
  )
  parser.add_argument(
    "bundle", metavar="BUNDLE", help="the folder bad_steps/STEP of a workdir"
  )
  return parser


def _run(folder: str, overrides: Sequence[tuple[str, str]]) -> int:
  import ml_collections

  from d2v_jax import compilation_cache, config_file
  from d2v_jax.training import build, quiet
  from d2v_jax.training.checkpoints import checkpoint_files
  from d2v_jax.training.trouble import bad_steps, replayed_step

  bundle = checkpoint_files.absolute(folder)
  bad = bad_steps.read(bundle)
  config = ml_collections.ConfigDict(bad.config)
  for path, value in overrides:
    config_file.override(config, path, value)
  compilation_cache.enable()
  tell = functools.partial(print, file=sys.stderr, flush=True)
  with quiet.orbax():
    run = build.from_config(config, bundle.parent.parent)
    found = replayed_step.replay(run, bundle, bad, tell)
  print("\n".join(found.lines()))
  return 0
