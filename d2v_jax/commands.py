"""The command `d2v`: all commands there are, in one table."""

import difflib
import importlib
import signal
import sys

from d2v_jax import bad_input, exit_status

# Name -> module and function, which takes arguments and returns the exit
# status, and what it does.
COMMANDS = {
  "train": ("main:train", "pretrain or fine-tune, or go on with a run"),
  "evaluate": ("main:evaluate", "measure what a run has learned"),
  "probe": ("main:probe", "measure what the frozen network of a run knows"),
  "check": ("check:main", "what is in the data, and what is wrong with them"),
  "replay": ("replay:main", "where a step was not finite, and why"),
  "plan": ("planning.command:main", "what a run needs, before it runs"),
  "report": ("report.command:main", "a page about a run, or several compared"),
  "features": ("extraction.command:main", "features of images, audio or text"),
  "convert": ("interchange.command:main", "models from and to other software"),
  "manifest": ("data.speech.write_manifest:main", "list recordings, pack them"),
  "tokenizer": ("data.text.tokenizer:main", "train a tokenizer on texts"),
  "pack": ("data.text.packing:main", "tokenise texts once, for training"),
}

_HELP = """\
usage: d2v COMMAND ARGUMENTS...    (or: python -m d2v_jax COMMAND ...)

data2vec and data2vec 2.0 in JAX: images, speech, signals and text by one
algorithm.

{commands}

d2v COMMAND --help says what a command takes. For instance:

  d2v train digits --workdir=runs/digits
  d2v probe probe_digits --run=runs/digits --workdir=runs/digits_probe
  d2v features --run=runs/digits --input=images --output=images.npz

Exit status: 0 done; 2 a wrong command line, config, input or workdir. Those of
train are in its own help. With D2V_TRACEBACK=1 in the environment an error also
shows where it came from.
"""


def main(argv: list[str] | None = None) -> int:
  """Runs the command line; returns the exit status."""
  name, *arguments = (sys.argv[1:] if argv is None else argv) or ["--help"]
  if name in ("-h", "--help"):
    width = max(map(len, COMMANDS))
    lines = [f"  {n:{width}}  {what}" for n, (_, what) in COMMANDS.items()]
    print(_HELP.format(commands="\n".join(lines)), end="")
    return 0
  if name not in COMMANDS:
    close = difflib.get_close_matches(name, COMMANDS, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    print(
      f"d2v: unknown command {name!r}{hint}; choose one of: "
      f"{', '.join(COMMANDS)}.",
      file=sys.stderr,
    )
    return 2
  # Only the module of this command: none waits for what another one needs.
  module, _, function = COMMANDS[name][0].partition(":")
  try:
    command = getattr(importlib.import_module(f"d2v_jax.{module}"), function)
    return command(arguments)
  except KeyboardInterrupt:
    # While libraries are imported, say: what has begun its work tells more.
    if bad_input.shows_tracebacks():
      raise
    print(f"SIGINT: d2v {name} was stopped.", file=sys.stderr)
    return exit_status.interrupted(signal.SIGINT)
