"""Computes features of images, audio or text with a pretrained network.

  d2v features --run=runs/images --input=photos --output=photos.npz
  d2v features --run=runs/speech --input=calls.tsv \\
    --output=calls.safetensors --layers=7 --pool=tokens
  d2v features --run=runs/text --input=reviews.jsonl \\
    --output=reviews.array_record --label=stars --model=student

An example's features depend on nothing but itself. What cannot be read is named
and left out. If the command is stopped, the same command goes on from there:
what is done is kept in OUTPUT.parts until all is, or, of an output in a bucket,
in ~/.cache/d2v_jax/features. docs/features.md says what is written, and how to
read it.

One process uses all devices that it sees. Several processes do not share the
work: give each its part of the files and its own output.

Exit status: 0 finished, 2 wrong input, 130 stopped by Ctrl-C. With
D2V_TRACEBACK=1 in the environment an error also shows where it came from.
"""

import argparse
import sys
from collections.abc import Sequence

from d2v_jax import bad_input
from d2v_jax.data.files.unreadable import shown
from d2v_jax.extraction import arguments, destination
from d2v_jax.extraction.destination import Destination
from d2v_jax.extraction.formats import FORMATS

_DTYPES = ("float32", "bfloat16")


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the command; returns its exit status."""
  args = arguments.parse(argv, __doc__)
  try:
    # Before anything slow is imported or read.
    _check_values(args)
    output = destination.checked(
      args.output, args.format, list(FORMATS), args.overwrite
    )
    _run(args, output)
  except KeyboardInterrupt:
    print("stopped; run the same command to go on.", file=sys.stderr)
    return 130
  except (ValueError, OSError) as e:
    return bad_input.report(e, " ".join(str(e).split()))
  return 0


def _run(args: argparse.Namespace, output: Destination) -> None:
  from d2v_jax import compilation_cache, pretrained
  from d2v_jax.extraction import compute, formats, inputs, request
  from d2v_jax.extraction.examples import Examples
  from d2v_jax.extraction.log import Log
  from d2v_jax.training.checkpoints.stored_run import StoredRun

  compilation_cache.enable()
  config, changes = request.fitted_config(args)
  source = StoredRun(args.run, args.step)
  name = args.model or ("teacher" if source.averaged else "student")
  wanted = compute.Wanted(name, args.layers, args.pool)
  taken = request.network_inputs(config)
  wanted.check(taken.grid)
  records = inputs.open_input(
    config["modality"],
    args.input,
    split=args.split,
    label=args.label,
    label_separator=args.label_separator,
    columns=tuple(args.column.split(",")) if args.column else (),
  )
  examples = Examples(
    taken,
    config,
    records,
    longest=request.longest(args, taken),
    cut=args.cut,
    pad=request.pads(config),
  )
  skipped = _Skipped(examples, args.max_skipped, compute.say)
  if not request.pads(config) and examples.lengths is not None:
    compute.say(
      "padding would change what this network computes (conv_norm='group'): "
      f"its {len(set(examples.lengths.tolist()))} lengths are compiled one by "
      "one"
    )
  model = pretrained.load(
    args.run,
    name,
    step=source.step,
    encoder=changes,
    compute_dtype=args.compute_dtype,
    num_devices=args.num_devices,
  )
  asked = request.describe(args, model, examples, wanted)
  with Log(output.parts, asked, args.overwrite) as log:
    if log.done:
      compute.say(
        f"going on after {len(log.done)} of {len(examples)} examples, which "
        f"are in {output.parts}"
      )
    compute.extract(
      model,
      examples,
      wanted,
      log,
      batch_size=args.batch_size or arguments.BATCH_SIZES[model.modality],
      fill=request.pads(config),
      precision="highest" if args.compute_dtype == "float32" else None,
      skip=skipped,
    )
    if not log.done:
      raise ValueError(f"--input={args.input}: not one example can be read.")
    metadata = {
      **asked,
      "class_names": list(examples.class_names),
      "skipped": skipped.names,
      "reasons": skipped.reasons,
      "not_listed": examples.listing,
      "versions": request.versions(),
    }
    table = log.table(examples.name, metadata)
    formats.write(table, output, log.unfinished())
    log.remove()
  compute.say(
    f"wrote {output.file}: {len(table.names)} examples, float32 "
    f"{list(table.rows.shape)}; left out {len(skipped.names)}"
  )
  if examples.listing:
    compute.say(f"of the folder's files, {examples.listing}")


class _Skipped:
  """Names what is left out, and counts it."""

  def __init__(self, examples, most, say):
    self._examples, self._most, self._say = examples, most, say
    self._found = {}  # example -> reason
    for name, reason in examples.left_out.items():
      say(f"left out: {shown(name)}: {reason}")
    self._check()

  def __call__(self, index):
    reason = self._examples.problem(index)
    self._found[index] = reason
    self._say(f"left out: {shown(self._examples.name(index))}: {reason}")
    self._check()

  @property
  def names(self):
    """Those known from the start, then the others, each in order."""
    unreadable = [self._examples.name(i) for i in sorted(self._found)]
    return [*self._examples.left_out, *unreadable]

  @property
  def reasons(self):
    """Of each name."""
    found = (self._found[i] for i in sorted(self._found))
    return [*self._examples.left_out.values(), *found]

  def _check(self):
    if len(self.names) > self._most:
      raise ValueError(
        f"{len(self.names)} examples cannot be used, more than --max_skipped="
        f"{self._most}: {', '.join(map(shown, self.names[:5]))}; repair or "
        "remove them, or raise it."
      )


def _check_values(args):
  for name in ("batch_size", "max_tokens", "image_size", "num_devices"):
    value = getattr(args, name)
    if value is not None and value < 1:
      raise ValueError(f"--{name} must be 1 or more, got {value}.")
  if args.max_skipped < 0:
    raise ValueError(f"--max_skipped must be >= 0, got {args.max_skipped}.")
  if args.max_seconds is not None and not 0 < args.max_seconds < 1e5:
    raise ValueError(f"--max_seconds must be > 0, got {args.max_seconds}.")
  if args.compute_dtype not in _DTYPES:
    raise ValueError(
      f"--compute_dtype: unknown {args.compute_dtype!r}; choose one of: "
      f"{', '.join(_DTYPES)}."
    )
