"""Measures what it costs to open a large table or folder.

  python -m benchmarks.large_inputs --rows 1000000

A manifest of recordings, tables of texts in every format, and a folder of empty
files in a thousand classes, listed twice: the second time the list is kept from
the first. Each is opened in a process of its own, which tells the seconds, what
its memory grew by, at most and in the end, and the bytes that each worker
process is sent. Writes benchmarks/results/large_inputs_<machine>.json.
"""

import argparse
import csv
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

from benchmarks import timing
from d2v_jax.data.text.sources import Kjv

_CHILD = """
import json, pathlib, pickle, re, sys, time
from etils import epath
from d2v_jax.data.images.image_files import ImageFolder
from d2v_jax.data.speech.manifest import Manifest
from d2v_jax.data.text.sources import TextTable

def memory(name):
  status = pathlib.Path("/proc/self/status").read_text()
  return 1024 * int(re.search(name + r":\\s*(\\d+) kB", status)[1])

opened, small, path = sys.argv[1:]
call = eval(opened)
call(small)  # what is imported on the way is no cost of the rows
before = memory("VmRSS")
start = time.perf_counter(), time.process_time()
source = call(path)
wall, cpu = time.perf_counter() - start[0], time.process_time() - start[1]
result = {
  "seconds": wall,
  "processor_seconds": cpu,
  "held_bytes": memory("VmRSS") - before,
  "peak_bytes": memory("VmHWM") - before,
}
print(json.dumps({
  "records": len(source), **result, "pickled_bytes": len(pickle.dumps(source)),
}))
"""

OPENED = {
  "manifest.tsv": "lambda path: Manifest(path, label='label')",
  "texts.tsv": "lambda path: TextTable(path, label='label')",
  "texts.csv": "lambda path: TextTable(path, label='label')",
  "texts.jsonl": "lambda path: TextTable(path, label='label')",
  "texts.parquet": "lambda path: TextTable(path, label='label')",
  "folder": "ImageFolder",
}


def recordings(rows: int) -> Iterator[dict[str, str]]:
  """Rows of a manifest."""
  for i in range(rows):
    yield {
      "path": f"speakers/{i % 1000:05d}/utterance_{i:08d}.flac",
      "num_samples": str(16000 + i),
      "rate": "16000",
      "speaker": str(i % 1000),
      "label": f"class {i % 100}",
    }


def texts(rows: int) -> Iterator[dict[str, str]]:
  """Rows of a table: the beginnings of verses."""
  verses = [document[0][:60] for document in Kjv().documents()]
  for i in range(rows):
    yield {"text": verses[i % len(verses)], "label": f"class {i % 100}"}


def write(path: pathlib.Path, rows: int) -> None:
  """Writes a table, or a folder of empty files."""
  if path.name == "folder":
    for k in range(1000):
      (path / f"class_{k:04d}").mkdir(parents=True)
    for i in range(rows):
      (path / f"class_{i % 1000:04d}/picture_{i:08d}.jpeg").touch()
    return
  made = (recordings if path.stem == "manifest" else texts)(rows)
  if path.suffix == ".parquet":
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(made)), path)
    return
  with path.open("w", encoding="utf-8", newline="") as file:
    if path.suffix == ".jsonl":
      file.writelines(json.dumps(row) + "\n" for row in made)
      return
    first = next(made)
    tabs = "\t" if path.suffix == ".tsv" else ","
    table = csv.DictWriter(file, first, delimiter=tabs, lineterminator="\n")
    table.writeheader()
    table.writerow(first)
    table.writerows(made)
  if path.stem == "manifest":
    recording = path.parent / first["path"]  # the first must be there
    recording.parent.mkdir(parents=True, exist_ok=True)
    recording.touch()


def measure(
  opened: str, small: pathlib.Path, path: pathlib.Path
) -> dict[str, Any]:
  """Opens it in a new process."""
  done = subprocess.run(
    [sys.executable, "-c", _CHILD, opened, str(small), str(path)],
    env={**os.environ, "XDG_CACHE_HOME": str(path.parent / "cache")},
    capture_output=True,
    text=True,
    check=True,
  )
  result: dict[str, Any] = json.loads(done.stdout)
  return {**result, "load": os.getloadavg()[0]}


def main() -> None:
  """Runs everything and writes the result."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--rows", type=int, default=1_000_000)
  parser.add_argument("--only", nargs="+", choices=OPENED, default=list(OPENED))
  parser.add_argument(
    "--settle", type=int, default=61, help="seconds that a new folder waits"
  )
  parser.add_argument("--out", type=pathlib.Path, help="JSON file to write")
  args = parser.parse_args()
  record: dict[str, Any] = {
    "machine": timing.machine(False),
    "settings": {**vars(args), "out": None},
    "opened": {},
  }
  for name in args.only:
    with tempfile.TemporaryDirectory() as folder:
      paths = pathlib.Path(folder, "small", name), pathlib.Path(folder, name)
      paths[0].parent.mkdir()
      for path, rows in zip(paths, (1000, args.rows), strict=True):
        write(path, rows)
      if name == "folder":
        time.sleep(args.settle)
      for when in ("", *((", again",) if name == "folder" else ())):
        done = measure(OPENED[name], *paths)
        record["opened"][name + when] = done
        print(name + when, done, flush=True)
  out = args.out or pathlib.Path(
    f"benchmarks/results/large_inputs_{platform.node()}.json"
  )
  out.parent.mkdir(parents=True, exist_ok=True)
  out.write_text(json.dumps(record, indent=2) + "\n")
  print(f"wrote {out}")


if __name__ == "__main__":
  main()
