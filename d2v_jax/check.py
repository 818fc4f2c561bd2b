"""Says what is in the data of a config, and what is wrong with them.

  d2v check digits
  d2v check image_folder --config.data.source.path=photos --sample=0
  d2v check configs/mine.py --json > data.json
  d2v check tones --output=tones.html

The data are opened as a run opens them, so what would stop or warn there is
found here. Then some records of each split are looked at: sizes, lengths,
channels and rates, classes, copies within and between splits, silence and
near-black, files that cannot be read; and some examples are read as training
reads them. What is wrong stands first, with what to do about it. docs/data.md
says what is meant by each.
"""

import argparse
import functools
import json
import os
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from d2v_jax import bad_input, run_arguments

if TYPE_CHECKING:
  from d2v_jax.data.checking.report import Report

_SAMPLE = 1000
_READ = 256  # examples that are read as training reads them
_STATUS = """
Exit status: 0 where a run could train, whatever else is found; 2 where it
could not, for its data as for a wrong command line or config. With
D2V_TRACEBACK=1 in the environment an error also shows where it came from.
"""


def main(argv: Sequence[str]) -> int:
  """Runs the command; returns its exit status."""
  flags, overrides = run_arguments.parse_flags(_parser(), argv)
  # No accelerator is needed to look at data.
  os.environ["JAX_PLATFORMS"] = "cpu"
  return bad_input.status_of(_run, flags, overrides)


def _parser() -> argparse.ArgumentParser:
  parser = argparse.ArgumentParser(
    prog="d2v check",
    description=__doc__,
    epilog=run_arguments.OVERRIDES + _STATUS,
    formatter_class=argparse.RawDescriptionHelpFormatter,
    allow_abbrev=False,
  )
  parser.add_argument(
    "config",
    metavar="NAME_OR_FILE",
    help="one of ours by name, or the path of a file",
  )
  parser.add_argument(
    "--sample",
    type=_count,
    default=_SAMPLE,
    metavar="N",
    help="records of each split that are looked at, drawn at random, by "
    "default %(default)s; 0 for all",
  )
  parser.add_argument(
    "--output",
    metavar="PAGE",
    help="write a page (HTML) of this, with pictures of what the network will "
    "see, and its masks",
  )
  parser.add_argument("--json", action="store_true", help="one JSON object")
  return parser


def _count(text: str) -> int:
  if not text.isdecimal():
    raise argparse.ArgumentTypeError(f"must be 0 or more, got {text!r}")
  return int(text)


def _run(
  flags: argparse.Namespace, overrides: Sequence[tuple[str, str]]
) -> int:
  from d2v_jax import config_file
  from d2v_jax.data.checking.page import page
  from d2v_jax.deriving import derive

  opened = config_file.load(flags.config)
  for path, value in overrides:
    config_file.override(opened, path, value)
  with derive.from_data(opened) as config:
    found = report(flags.config, config, flags.sample, progress=True)
    print(json.dumps(found.as_json()) if flags.json else page(found))
    if flags.output:
      from d2v_jax.report import of_data

      made = of_data.page(flags.config, config, page(found))
      pathlib.Path(flags.output).write_text(made.html())
  return bad_input.EXIT_STATUS if found.stops else 0


def report(
  name: str, config: Any, sample: int = _SAMPLE, progress: bool = False
) -> "Report":
  """Looks at the data of a config.

  Args:
    name: of the config.
    config: of a run or a probe.
    sample: records of each split that are looked at; 0 for all.
    progress: show it, where there is a terminal.

  Raises:
    ConfigError: the config is wrong, whatever the data are.
  """
  import jax

  from d2v_jax import config as config_lib
  from d2v_jax import probe
  from d2v_jax.data.checking import (
    classes,
    duplicates,
    first_look,
    opening,
    read_examples,
    report,
    survey,
  )
  from d2v_jax.data.checking.finding import Finding, noted
  from d2v_jax.training import build, evaluation, outputs

  run: Any = None
  # On one device, whatever the run has: it is the data that are checked.
  if probe.is_probe(config):
    plan: Any = probe.plan({**config_lib.plain(config), "num_devices": 1})
  else:
    plan = run = build.plan(config, devices=jax.devices()[:1])
  dataset, measured = plan.dataset, plan.evaluation
  findings: list[Finding] = []
  splits = opening.opened(
    dataset,
    {f"config.evaluation.{k}": v for k, v in sorted(measured.splits.items())},
    batch_size=None if run is None else run.batch_size,
    evaluation_batch_size=measured.batch_size,
    evaluation_buckets=measured.fields.buckets or dataset.buckets,
    findings=findings,
  )
  training = splits.get(opening.TRAINING)
  examples = None if training is None else training.examples
  with noted(findings, "config.objective"):
    if examples is not None:
      outputs.check(run.config["objective"], dataset, examples.source)
  with noted(findings, "config.evaluation"):
    evaluation.check_classes(
      {
        x.name: x.records
        for x in splits.values()
        if x is not training or (run and run.objective.predict is not None)
      }
    )
  read = None
  if examples is not None:
    with noted(findings, opening.TRAINING):
      # Before anything else, as what was read once is read faster.
      indices = survey.chosen(len(examples.source), _READ)
      read = read_examples.read(dataset, examples, indices)
  surveys = {}
  for x in splits.values():
    if x.records is not None and not x.same_as:
      look = functools.partial(
        survey.survey,
        x.name,
        x.records,
        dataset.look,
        threads=dataset.num_threads,
        progress=progress,
      )
      some = look(survey.chosen(len(x.records), sample))
      surveys[x.name] = some.with_more(look(classes.to_look_further(some)))
  learned = first_look.LEARNED
  findings += report.all_findings(surveys, learned, dataset.max_corrupt)
  same = {x.name: x.same_as for x in splits.values()}
  findings += duplicates.same_splits(same, learned)
  findings.sort(key=lambda finding: not finding.stops)
  return report.Report(
    name, splits, surveys, findings, read, dataset.normalised_at
  )
