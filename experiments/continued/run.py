"""An import on one set of labelled texts, before and after it has gone on.

  python -m experiments.continued.run verses runs/minilm kjv.tsv.gz \\
    runs/continued/verses

The set is `verses`, `nouns` or `reviews`; then come the import's run, a table
with the columns text, label and split, and a folder for all runs. 2,000
training and 1,500 test examples are drawn; data2vec goes on with all training
texts of the set, without their labels. Each step is a command of d2v, which is
printed; one that has finished is not repeated. Writes result.json there.
"""

import argparse
import dataclasses
import json
import pathlib
import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from d2v_jax import commands as d2v
from d2v_jax.data.tables import Table
from experiments import report
from experiments.probing import report as probing

SEEDS = (0, 1, 2)
SIZES = {"train": 2000, "test": 1500}
LENGTHS = "(16, 24, 32, 48, 64, 128)"


@dataclasses.dataclass(frozen=True)
class Examples:
  """Which rows of a table count.

  Attributes:
    prefix: of their labels.
    classes: how many, the most frequent ones of the training split.
  """

  prefix: str = ""
  classes: int = 1000


SETS = {
  "verses": Examples(),
  "nouns": Examples(prefix="noun.", classes=24),
  "reviews": Examples(),
}


def main(argv: Sequence[str] | None = None) -> int:
  """Runs the command line; returns the exit status."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("set", choices=SETS)
  parser.add_argument("model", help="the import's run")
  parser.add_argument("table", help="columns text, label and split")
  parser.add_argument("folder", type=pathlib.Path, help="for all runs")
  args = parser.parse_args(argv)
  args.folder.mkdir(parents=True, exist_ok=True)
  classes = draw(args.table, SETS[args.set], args.folder)
  for name, command in steps(args.model, args.folder, classes).items():
    if not _finished(args.folder / name):
      print(shlex.join(["d2v", *command]), flush=True)
      if status := d2v.main(command):
        return status
  write(args.folder)
  return 0


def draw(table: str, chosen: Examples, folder: pathlib.Path) -> int:
  """Writes examples.jsonl, and texts.txt to go on with.

  Args:
    table: columns text, label and split.
    chosen: which of its rows.
    folder: for the two files.

  Returns:
    How many classes the examples have.
  """
  rows = [
    row
    for row in Table(table).rows
    if row["label"].startswith(chosen.prefix) and row["split"] in SIZES
  ]
  counts = Counter(row["label"] for row in rows if row["split"] == "train")
  classes = {label for label, _ in counts.most_common(chosen.classes)}
  rows = [row for row in rows if row["label"] in classes]
  rng = np.random.default_rng(0)
  lines, texts = [], []
  for split, size in SIZES.items():
    every = [row for row in rows if row["split"] == split]
    for i in rng.permutation(len(every))[:size]:
      kept = {name: every[i][name] for name in ("text", "label", "split")}
      lines.append(json.dumps(kept))
    if split == "train":
      texts = [every[i]["text"] for i in rng.permutation(len(every))]
  (folder / "examples.jsonl").write_text("\n".join(lines) + "\n")
  (folder / "texts.txt").write_text("\n".join(texts) + "\n")
  return len(classes)


def steps(
  model: str, folder: pathlib.Path, classes: int
) -> dict[str, list[str]]:
  """Name of a workdir in the folder -> arguments of d2v, in order.

  Args:
    model: the import's run.
    folder: with what `draw` wrote.
    classes: of the examples.
  """
  found = {"probed": _probe(model, folder, SEEDS)}
  for seed in SEEDS:
    found[f"continued-{seed}"] = _continue(model, folder, seed)
    continued = f"{folder}/continued-{seed}"
    found[f"continued_probed-{seed}"] = _probe(continued, folder, (seed,))
    for name, source in (
      ("finetuned", model),
      ("continued_finetuned", continued),
    ):
      found[f"{name}-{seed}"] = _finetune(source, folder, classes, seed)
  return {
    name: [*command, f"--workdir={folder}/{name}"]
    for name, command in found.items()
  }


def _probe(run, folder, seeds):
  probe = {
    "name": "linear_probe",
    "holdout": 0.2,
    "steps": 400,
    "batch_size": 256,
    "learning_rates": (0.03, 0.1, 0.3, 1.0),
    "weight_decays": (1e-3, 1e-2),
    "features": {"layers": "all", "pool": ("mean", "cls")},
  }
  probes = {f"seed_{seed}": {**probe, "seed": seed} for seed in seeds}
  return [
    "probe",
    "probe_text",
    f"--run={run}",
    f"--config.evaluation.evaluators={probes}",
    f"--config.evaluation.train.path={folder}/examples.jsonl",
    f"--config.evaluation.test.path={folder}/examples.jsonl",
    f"--config.evaluation.buckets.lengths={LENGTHS}",
    # What it is compared with is measured once, beside the import.
    f"--config.evaluation.references={SIZES['train'] * (len(seeds) > 1)}",
  ]


def _continue(model, folder, seed):
  return [
    "train",
    "continue_text",
    f"--config.seed={seed}",
    f"--config.init_from={model}",
    f"--config.data.source.path={folder}/texts.txt",
    "--config.data.buckets.lengths=(64,)",
    "--config.batch_size=8",
    "--config.total_steps=300",
    "--config.checkpoint_every=300",
    "--config.log_every=20",
    # In so few updates rate and teacher must move faster than in 5,000, and the
    # head needs more of them before all may learn from it.
    "--config.optimizer.freeze_steps=100",
    "--config.schedule.peak=2e-4",
    "--config.objective.ema.start=0.99",
    "--config.objective.ema.end=0.999",
  ]


def _finetune(run, folder, classes, seed):
  return [
    "train",
    "finetune_text",
    f"--config.seed={seed}",
    f"--config.init_from={run}",
    f"--config.data.source.path={folder}/examples.jsonl",
    f"--config.evaluation.test.path={folder}/examples.jsonl",
    "--config.data.buckets.lengths=(32, 64, 128)",
    f"--config.objective.head.num_outputs={classes}",
    "--config.batch_size=16",
    "--config.total_steps=100",
    "--config.checkpoint_every=100",
    "--config.log_every=20",
    "--config.schedule.peak=3e-4",
    "--config.objective.head.pool=mean",
    "--config.objective.head.hidden=False",
    "--config.evaluation.every=0",
  ]


def write(folder: pathlib.Path) -> None:
  """Writes result.json of what has been run in a folder so far."""
  content = json.dumps(collect(folder), indent=2) + "\n"
  (folder / "result.json").write_text(content)


def collect(folder: pathlib.Path) -> dict[str, Any]:
  """What all runs in a folder have measured.

  Returns:
    `accuracies`: what was done -> one for each seed; `references`: accuracies
    of what was not pretrained, by the same probe; `losses` of going on, first
    and last logged; `read`: layer and pooling that each probe chose; `runs`:
    commit, versions and hardware of each, and config of seed 0.
  """
  accuracies: dict[str, list[float]] = {}
  runs, losses, read = {}, {}, {}
  workdirs = (path for path in folder.iterdir() if path.is_dir())
  for workdir in sorted(filter(_finished, workdirs)):
    name, _, seed = workdir.name.partition("-")
    if name.endswith("probed"):
      found = probing.read(workdir)
      results = found.pop("results")
      for key, value in results.items():
        if key.endswith("/accuracy"):
          accuracies.setdefault(name, []).append(value)
        if key.endswith(("/best_layer", "/best_pool")):
          read[f"{workdir.name}/{key}"] = int(value)
    else:
      run, lines = report.read(workdir)
      found = report.summarise(run, lines, {})
      if name == "continued":
        logged = [line["loss"] for line in lines if "loss" in line]
        losses[workdir.name] = [logged[0], logged[-1]]
      else:
        last = found["final"]["classification/accuracy"]
        accuracies.setdefault(name, []).append(last)
    kept = ("commit", "versions", "devices", "host")
    runs[workdir.name] = {k: found[k] for k in kept if k in found}
    if seed in ("", "0"):
      runs[workdir.name]["config"] = found["config"]
    if "minutes_of_training" in found:
      runs[workdir.name]["minutes"] = found["minutes_of_training"]
  entries = json.loads((folder / "probed/references.json").read_text())
  return {
    "accuracies": accuracies,
    "references": _references(entries[-1]),
    "losses": losses,
    "read": read,
    "runs": runs,
  }


def _references(entry):
  """Name of a reference -> its accuracy for each seed of the probe."""
  found = {}
  for probe, metrics in entry["untrained"].items():
    others = {"untrained": metrics, **entry["simple"][probe]}
    for name, measured in others.items():
      found.setdefault(name, []).append(measured["accuracy"])
  return found


def _finished(workdir):
  reader = probing.read if "probed" in workdir.name else report.read
  try:
    reader(workdir)
  except ValueError:
    return False
  return True


if __name__ == "__main__":
  sys.exit(main())
