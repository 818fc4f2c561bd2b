"""Measures `d2v pack` on a large text, over the tokenizer's threads.

  python -m benchmarks.packing --megabytes 50 --threads 1 2

Documents are 5 to 60 verses of the embedded text, drawn at random. Each round
is a process of its own for each number of threads, in turns. Writes
benchmarks/results/packing_<machine>.json with the seconds, the most memory and
a hash of what was written, which must always be the same.
"""

import argparse
import hashlib
import json
import os
import pathlib
import platform
import random
import subprocess
import sys
import tempfile
import time
from typing import Any

from benchmarks import timing
from d2v_jax.data.text.sources import Kjv

_CHILD = """
import pathlib, re, sys, time
from d2v_jax.data.text import packing
status = packing.main(sys.argv[1:])
memory = pathlib.Path("/proc/self/status").read_text()
peak = re.search(r"VmHWM:\\s*(\\d+) kB", memory)[1]
print(time.process_time(), 1024 * int(peak))
sys.exit(status)
"""


def make_text(path: pathlib.Path, size: int) -> None:
  """Writes documents of verses, `size` bytes or a little more."""
  verses = [document[0] for document in Kjv().documents()]
  rng, written = random.Random(0), 0
  with path.open("w", encoding="utf-8") as file:
    while written < size:
      document = [rng.choice(verses) for _ in range(rng.randint(5, 60))]
      written += file.write("\n".join(document) + "\n\n")


def pack(text: pathlib.Path, out: pathlib.Path, threads: int) -> dict[str, Any]:
  """Packs the text in a new process."""
  start = time.perf_counter()
  done = subprocess.run(
    [sys.executable, "-c", _CHILD, str(out), str(text), "--tokenizer=kjv"],
    env={**os.environ, "RAYON_NUM_THREADS": str(threads)},
    capture_output=True,
    text=True,
    check=True,
  )
  wall = time.perf_counter() - start
  cpu, memory = done.stdout.splitlines()[-1].split()
  written = hashlib.sha256()
  for file in sorted(out.iterdir()):
    written.update(file.read_bytes())
    file.unlink()
  out.rmdir()
  return {
    "wall": wall,
    "cpu": float(cpu),
    "peak_memory_bytes": int(memory),
    "sha256": written.hexdigest(),
  }


def main() -> None:
  """Runs everything and writes the result."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--megabytes", type=int, default=50)
  parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
  parser.add_argument("--repeats", type=int, default=3, help="rounds")
  parser.add_argument("--out", type=pathlib.Path, help="JSON file to write")
  args = parser.parse_args()
  record: dict[str, Any] = {
    "machine": timing.machine(False),
    "settings": {**vars(args), "out": None},
  }
  rounds: dict[str, list[dict[str, Any]]] = {str(n): [] for n in args.threads}
  with tempfile.TemporaryDirectory() as name:
    text = pathlib.Path(name) / "text.txt"
    make_text(text, args.megabytes * 10**6)
    for _ in range(args.repeats):
      for threads in args.threads:
        done = pack(text, pathlib.Path(name) / "tokens", threads)
        rounds[str(threads)].append({**done, "load": os.getloadavg()[0]})
        print(threads, rounds[str(threads)][-1], flush=True)
  record["rounds"] = rounds
  out = args.out or pathlib.Path(
    f"benchmarks/results/packing_{platform.node()}.json"
  )
  out.parent.mkdir(parents=True, exist_ok=True)
  out.write_text(json.dumps(record, indent=2) + "\n")
  print(f"wrote {out}")


if __name__ == "__main__":
  main()
