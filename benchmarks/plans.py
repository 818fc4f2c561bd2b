"""Plans every shipped recipe that trains; prints the tables of docs/plan.md.

  python -m benchmarks.plans
  python -m benchmarks.plans --only vit_base,text_base --device v5e

Each plan is a process of its own. Rows go to benchmarks/results/plans.jsonl as
they are done, each with its command, commit and versions; one that is there, of
the same commit, is not planned again. Needs the extras plan-tpu and plan-gpu.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import subprocess
import sys

from d2v_jax.planning.devices import versions

ROOT = pathlib.Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks/results/plans.jsonl"


@dataclasses.dataclass(frozen=True)
class Case:
  """One plan.

  Attributes:
    config: name of a recipe.
    per_device: device -> examples on each.
    flags: what is added to the command line.
  """

  config: str
  per_device: dict[str, int]
  flags: tuple[str, ...] = ()


def _on(v5e: int, h100: int, chips: str = "2x2", gpus: int = 1):
  return {f"v5e:{chips}": v5e, f"h100:{gpus}": h100}


def _bundled(source: str) -> tuple[str, ...]:
  return (f"--config.data.source=dict(name='{source}', split='train')",)


_SECONDS_20, _TOKENS_512 = ("--length=320000",), ("--length=512",)
# Those that start from another run's network are told it here.
CASES = (
  Case("vit_small", _on(64, 256)),
  Case("vit_base", _on(32, 128)),
  Case("vit_base", {"v5e:2x2": 128}),
  Case("vit_large", _on(32, 64, gpus=8)),
  Case("vit_large", {"v5e:4x4": 32}),
  Case("vit_base_d2v2", _on(8, 32)),
  Case("vit_large_d2v2", _on(4, 16, gpus=8)),
  Case("vit_huge_d2v2", _on(2, 8, gpus=8)),
  Case("speech_base", _on(4, 8), _SECONDS_20),
  Case("speech_base", {"v5e:2x2": 8}, _SECONDS_20),
  Case("speech_large", _on(4, 8, gpus=8), _SECONDS_20),
  Case("speech_base_d2v2", _on(2, 4), _SECONDS_20),
  Case("speech_large_d2v2", _on(1, 4, gpus=8), _SECONDS_20),
  Case("text_base", _on(16, 32), _TOKENS_512),
  Case("text_base_d2v2", _on(4, 8), _TOKENS_512),
  Case("text_large_d2v2", _on(2, 8, gpus=8), _TOKENS_512),
  Case("finetune_imagenet", _on(32, 128), ("--config.encoder.name=vit",)),
  Case(
    "finetune_librispeech",
    _on(4, 8),
    ("--length=280000", "--config.encoder.name=speech"),
  ),
  Case(
    "finetune_glue",
    _on(16, 32),
    (*_TOKENS_512, "--config.encoder.name=text"),
  ),
  Case("finetune_images:scratch", {"h100:1": 64}),
  Case("finetune_speech:scratch", {"h100:1": 32}, ("--length=64000",)),
  Case("finetune_text:scratch", {"h100:1": 32}, ("--length=128",)),
  Case("continue_images", {"h100:1": 64}, ("--config.encoder.name=vit",)),
  Case(
    "continue_speech",
    {"h100:1": 8},
    ("--length=160000", "--config.encoder.name=speech"),
  ),
  Case(
    "continue_text",
    {"h100:1": 32},
    ("--length=128", "--config.encoder.name=text"),
  ),
  Case("refine_images", {"h100:1": 64}, ("--config.encoder.name=vit",)),
  Case("probe_attentive", {"h100:1": 250}, ("--config.encoder.name=vit",)),
  Case("image_folder", {"h100:1": 64}),
  # Of those whose sizes follow the data, with data that come along.
  Case("own_images", {"h100:1": 64}, _bundled("digits")),
  Case("own_speech", {"h100:1": 32}, (*_bundled("tones"), "--length=6400")),
  Case("own_text", {"h100:1": 32}, (*_bundled("kjv"), "--length=64")),
  Case("fashion_mnist", {"h100:1": 64}),
  Case("digits", {"h100:1": 64}),
  Case("digits_d2v2", {"h100:1": 32}),
  Case("audio_folder", {"h100:1": 32}, ("--length=32000",)),
  Case("audio_spectrogram", {"h100:1": 16}),
  Case("signals", {"h100:1": 16}, ("--length=100",)),
  Case("signals_d2v2", {"h100:1": 16}, ("--length=100",)),
  Case(
    "finetune_signals",
    {"h100:1": 16},
    (
      "--length=100",
      "--config.encoder.name=signal",
      "--config.encoder.rate=10.0",
      "--config.encoder.channels=6",
      "--config.encoder.windows=((64, 0.3, 0.1), (64, 0.5, 0.2))",
    ),
  ),
  Case("tones", {"h100:1": 32}, ("--length=6400",)),
  Case("tones_d2v2", {"h100:1": 16}, ("--length=6400",)),
  Case("text_files", {"h100:1": 32}, ("--length=128",)),
  Case("verses", {"h100:1": 32}, ("--length=64",)),
  Case("verses_d2v2", {"h100:1": 8}, ("--length=64",)),
)


def commands(only: set[str], device: str) -> list[list[str]]:
  """Arguments of d2v, one list a row of the table.

  Args:
    only: configs; none for all.
    device: beginning of its name; '' for all.
  """
  return [
    [
      "plan",
      case.config,
      f"--device={name}",
      f"--per_device={count}",
      *case.flags,
    ]
    for case in CASES
    for name, count in case.per_device.items()
    if (not only or case.config in only) and name.startswith(device)
  ]


def measure(arguments: list[str], commit: str) -> dict:
  """One row, with where it comes from."""
  process = subprocess.run(
    [sys.executable, "-m", "d2v_jax", *arguments, "--json"],
    cwd=ROOT,
    env=os.environ | {"PYTHONPATH": str(ROOT)},
    stdout=subprocess.PIPE,
    text=True,
    check=True,
  )
  platform = "gpu" if "h100" in arguments[2] else "tpu"
  return {
    "command": " ".join(["d2v", *arguments]),
    "commit": commit,
    "versions": dict(versions(platform)),
    **json.loads(process.stdout),
  }


def table(rows: list[dict]) -> str:
  """The rows as Markdown."""
  lines = [
    "| config | devices | examples on each | memory GB | TFLOP | traffic GB | "
    "collectives GB | ms a step | of peak | examples/s | commit |",
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
  ]
  for row in rows:
    cells = _case(row)
    cells.append(f"{row['memory_bytes'] / 1e9:.2f}")
    if row["flops"] is None:
      cells[-1] += ", does not fit"
      cells += [""] * 6 + [row["commit"]]
      lines.append(f"| {' | '.join(cells)} |")
      continue
    cells += [
      _rounded(row["flops"] / 1e12, 2),
      f"{row['traffic_bytes'] / 1e9:.1f}",
      f"{row['collective_bytes'] / 1e9:.2f}",
      _rounded(row["step_seconds"] * 1e3, 0),
      f"{row['peak_fraction']:.2f}",
      f"{row['examples_per_second']:,.0f}",
      row["commit"],
    ]
    if not row["fits"]:
      cells[3] += ", does not fit"
    lines.append(f"| {' | '.join(cells)} |")
  return "\n".join(lines)


def shares_table(rows: list[dict]) -> str:
  """Where the time of those that fit goes, in ms, as Markdown."""
  kinds = ("products", "kernels", "other")
  parts = ("teacher", "forward", "backward", "update", "rest")
  case = ("config", "devices", "examples on each")
  names = (*case, "computing", *kinds, *parts, "commit")
  lines = [f"| {' | '.join(names)} |", "| --- " * len(names) + "|"]
  for row in rows:
    if not row.get("work_seconds"):
      continue
    work, part = row["work_seconds"], row["part_seconds"]
    times = [
      sum(work.values()),
      *(work[k] for k in kinds),
      *(part[k] for k in parts),
    ]
    cells = [*_case(row), *(f"{x * 1e3:.1f}" for x in times), row["commit"]]
    lines.append(f"| {' | '.join(cells)} |")
  return "\n".join(lines)


def _case(row: dict) -> list[str]:
  of_length = f" of {row['length']:,}" if row["length"] else ""
  return [row["config"], row["device"], f"{row['per_device']}{of_length}"]


def _rounded(value: float, places: int) -> str:
  """With so many decimals, or two significant digits if that is more."""
  return f"{value:.{places}f}" if value * 10**places >= 10 else f"{value:.2g}"


def main() -> None:
  """Plans what is not there, and prints the table."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--only", default="", help="configs, with commas")
  parser.add_argument("--device", default="", help="beginning of its name")
  args = parser.parse_args()
  commit = subprocess.run(
    ["git", "rev-parse", "--short", "HEAD"],
    cwd=ROOT,
    stdout=subprocess.PIPE,
    text=True,
    check=True,
  ).stdout.strip()
  done = {}
  if RESULTS.exists():
    rows = map(json.loads, RESULTS.read_text().splitlines())
    done = {row["command"]: row for row in rows}
  only = {name for name in args.only.split(",") if name}
  for arguments in commands(only, args.device):
    command = " ".join(["d2v", *arguments])
    if done.get(command, {}).get("commit") == commit:
      continue
    print(command, file=sys.stderr)
    done[command] = measure(arguments, commit)
    RESULTS.write_text("".join(json.dumps(x) + "\n" for x in done.values()))
  ordered = [" ".join(["d2v", *x]) for x in commands(set(), "")]
  rows = [done[command] for command in ordered if command in done]
  print(table(rows), shares_table(rows), sep="\n\n")


if __name__ == "__main__":
  main()
