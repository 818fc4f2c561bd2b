"""Kills, fills, damages and renames runs at random, and wants the same bits.

  python -m experiments.soak.soak --minutes=60 --output=experiments/soak

Each run is started again by the same command until it is over; its final state
must be that of a run which nobody disturbed. Moments and faults are drawn by
--seed. After each run the log of all starts and result.json are written to
--output.
"""

import argparse
import collections
import json
import os
import pathlib
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence

import jax
import numpy as np

from d2v_jax.training.checkpoints import stored_items
from d2v_jax.training.workdir import provenance

SMALL = (
  "--lease=5",
  "--config.num_devices=1",
  "--config.checkpoint_every=10",
  "--config.log_every=5",
  "--config.evaluation.references=0",
)
# Modality -> name of the config, and what makes it short.
CASES = {
  "images": (
    "digits",
    (
      "--config.total_steps=200",
      "--config.schedule.warmup_steps=20",
      "--config.evaluation.every=100",
      *SMALL,
    ),
  ),
  "speech": (
    "tones",
    (
      "--config.total_steps=60",
      "--config.schedule.warmup_steps=10",
      "--config.schedule.hold_steps=30",
      "--config.evaluation.every=0",
      "--config.evaluation.evaluators=None",
      *SMALL,
    ),
  ),
  "text": (
    "verses",
    (
      "--config.total_steps=60",
      "--config.schedule.warmup_steps=10",
      "--config.evaluation.every=0",
      "--config.evaluation.evaluators=None",
      *SMALL,
    ),
  ),
}
# How a start ends that was disturbed, and how it may.
RETRY = (75, 130, 137, 143)
_LONGEST = 600  # seconds of one start

Fault = Callable[[pathlib.Path, random.Random], None]


def start(
  command: Sequence[str], workdir: pathlib.Path, most_bytes: int | None = None
) -> subprocess.Popen[bytes]:
  """Starts d2v train; files of it cannot grow beyond most_bytes."""
  program = [sys.executable, "-m", "d2v_jax", "train"]
  process = subprocess.Popen(
    [*program, *command, f"--workdir={workdir}"],
    stdout=subprocess.DEVNULL,
    stderr=subprocess.PIPE,
  )
  if most_bytes is not None:
    limits = (most_bytes, most_bytes)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, limits)
  return process


def state(workdir: pathlib.Path) -> tuple[int, dict[str, np.ndarray]]:
  """Step and arrays of the newest checkpoint, by name."""
  found = {}
  step = -1
  for item in ("params", "teacher_params", "opt_state"):
    step, tree = stored_items.load_item(workdir / "checkpoints", item)
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
      found[item + jax.tree_util.keystr(path)] = np.asarray(leaf)
  return step, found


def same(a: pathlib.Path, b: pathlib.Path) -> bool:
  """Whether two runs have ended with the same bits."""
  (step_a, x), (step_b, y) = state(a), state(b)
  return (
    step_a == step_b
    and x.keys() == y.keys()
    and all(np.array_equal(x[k], y[k], equal_nan=True) for k in x)
  )


def disturbed(
  command: Sequence[str],
  workdir: pathlib.Path,
  draw: random.Random,
  seconds: float,
  tell: Callable[[dict], None],
) -> pathlib.Path:
  """Runs to the end under faults; returns where the run is by then.

  Args:
    command: arguments of d2v train, without the workdir.
    workdir: where it begins.
    draw: the only source of randomness.
    seconds: that an undisturbed start takes, about.
    tell: is called with what has become of each start.

  Raises:
    RuntimeError: a start has ended as none may.
  """
  while True:
    fault = draw.choice(list(_DURING))
    moment = draw.uniform(0.05, 0.6) * seconds
    most = draw.randrange(1_000, 200_000) if fault == "full" else None
    begin = time.monotonic()
    process = start(command, workdir, most)
    _DURING[fault](process, moment)
    err = process.communicate(timeout=_LONGEST)[1].decode()
    status = (
      process.returncode % 256
      if process.returncode >= 0
      else (128 - process.returncode)
    )
    tell(
      {
        "fault": fault,
        "moment": round(moment, 1),
        "status": status,
        "seconds": round(time.monotonic() - begin, 1),
        "said": err.strip().splitlines()[-1:],
      }
    )
    if "Traceback" in err or (status and status not in RETRY):
      raise RuntimeError(f"{workdir}: {fault}: status {status}: {err}")
    if status == 0:
      return workdir
    name = draw.choice([*_BETWEEN, "nothing", "nothing"])
    if name == "rename":
      moved = workdir.with_name(f"{workdir.name}-moved")
      workdir.rename(moved)
      workdir = moved
    elif name in _BETWEEN and workdir.exists():
      _BETWEEN[name](workdir, draw)
    if name != "nothing":
      tell({"fault": name})


def _signalled(signum: int) -> Callable[[subprocess.Popen, float], None]:
  def act(process: subprocess.Popen, moment: float) -> None:
    try:
      process.wait(moment)
    except subprocess.TimeoutExpired:
      process.send_signal(signum)

  return act


def _twice(process: subprocess.Popen, moment: float) -> None:
  _signalled(signal.SIGTERM)(process, moment)
  _signalled(signal.SIGTERM)(process, 0.1)


def _halted(process: subprocess.Popen, moment: float) -> None:
  _signalled(signal.SIGSTOP)(process, moment)
  time.sleep(2)
  if process.poll() is None:
    process.send_signal(signal.SIGCONT)
  _signalled(signal.SIGKILL)(process, moment)


# What happens to a run that runs.
_DURING = {
  "kill": _signalled(signal.SIGKILL),
  "terminate": _signalled(signal.SIGTERM),
  "interrupt": _signalled(signal.SIGINT),
  "terminate twice": _twice,
  "halt": _halted,
  "full": lambda process, moment: None,
}


def _newest(workdir: pathlib.Path) -> list[pathlib.Path]:
  """Files of the newest checkpoint, if there is another one before it."""
  folder = workdir / "checkpoints"
  if not folder.exists():
    return []
  steps = sorted(int(x.name) for x in folder.iterdir() if x.name.isdecimal())
  if len(steps) < 2:
    return []
  files = (folder / str(steps[-1])).rglob("*")
  return sorted(x for x in files if x.is_file())


def _flip(workdir: pathlib.Path, draw: random.Random) -> None:
  files = [x for x in _newest(workdir) if x.stat().st_size]
  if files:
    path = draw.choice(files)
    data = bytearray(path.read_bytes())
    data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    path.write_bytes(data)


def _lose(workdir: pathlib.Path, draw: random.Random) -> None:
  if files := _newest(workdir):
    draw.choice(files).unlink()


def _cut(workdir: pathlib.Path, draw: random.Random) -> None:
  path = workdir / draw.choice(["metrics.jsonl", "run.json", "owner.json"])
  if path.exists():
    os.truncate(path, draw.randrange(path.stat().st_size + 1))


# What happens to the workdir between two starts.
_BETWEEN: dict[str, Fault | None] = {
  "flip a bit of the newest checkpoint": _flip,
  "lose a file of the newest checkpoint": _lose,
  "cut a file beside the checkpoints": _cut,
  "rename": None,
}


def main() -> int:
  """Runs for so many minutes; 1 if a run came out otherwise."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--minutes", type=float, required=True)
  parser.add_argument("--seed", type=int, default=0)
  parser.add_argument("--output", type=pathlib.Path, required=True)
  flags = parser.parse_args()
  begun = time.monotonic()
  end = begun + 60 * flags.minutes
  draw = random.Random(flags.seed)
  told: list[dict] = []
  runs = collections.Counter()
  differ = []
  with tempfile.TemporaryDirectory(prefix="soak-") as name:
    folder = pathlib.Path(name)
    seconds = {}
    for case, (config, changes) in CASES.items():
      begin = time.monotonic()
      process = start((config, *changes), folder / case)
      if process.wait():
        raise RuntimeError(f"{case}: {process.stderr.read().decode()}")
      seconds[case] = time.monotonic() - begin
    while time.monotonic() < end:
      case = draw.choice(list(CASES))
      config, changes = CASES[case]
      workdir = disturbed(
        (config, *changes),
        folder / f"{case}-{runs.total()}",
        draw,
        seconds[case],
        lambda x, case=case: told.append({"case": case} | x),
      )
      runs[case] += 1
      if not same(workdir, folder / case):
        differ.append(str(workdir))
      print(f"{case}: {len(told)} entries, {len(differ)} differ", flush=True)
      shutil.rmtree(workdir)
      minutes = (time.monotonic() - begun) / 60
      write(flags, minutes, told, runs, differ)
  return int(bool(differ))


def write(flags, minutes, told, runs, differ) -> None:
  """Writes the log and the summary."""
  result = {
    "minutes": round(minutes, 1),
    "seed": flags.seed,
    "runs": dict(runs),
    "runs that ended with other bits": len(differ),
    "faults": dict(collections.Counter(x["fault"] for x in told)),
    "statuses": dict(
      collections.Counter(str(x["status"]) for x in told if "status" in x)
    ),
    **{
      k: provenance.environment()[k]
      for k in ("python", "versions", "commit", "devices")
    },
  }
  lines = "".join(json.dumps(x) + "\n" for x in told)
  (flags.output / "log.jsonl").write_text(lines)
  text = json.dumps(result, indent=2) + "\n"
  (flags.output / "result.json").write_text(text)


if __name__ == "__main__":
  sys.exit(main())
