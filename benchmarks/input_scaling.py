"""Measures images a second of the input pipeline over threads and processes.

  python -m benchmarks.input_scaling --threads 1 2 4 --workers 0 1 2

Pictures are those of `benchmarks.input_pipeline`; they are decoded, augmented
and masked as vit_base does it. Each round reads with every number of threads
and worker processes in turn, after some batches that do not count. Beside
images a second there are the processor seconds of an image, of this process and
its workers, which other load on the machine changes little. Writes
benchmarks/results/input_scaling_<machine>.json.
"""

import argparse
import itertools
import json
import os
import pathlib
import platform
import statistics
import tempfile
import time
from typing import Any

from benchmarks.input_pipeline import (
  MASKED,
  PATCH,
  SIZE,
  machine,
  make_pictures,
)
from d2v_jax.data import pipeline
from d2v_jax.data.images import examples, sources
from d2v_jax.data.images import transform as image_transform
from d2v_jax.data.images.pixels import Form
from d2v_jax.data.masks import image as image_masks

_TICKS = os.sysconf("SC_CLK_TCK")


def processor_seconds() -> float:
  """Of this process and all that it has started, as far as they live."""
  stats = {}
  for folder in pathlib.Path("/proc").glob("[0-9]*"):
    try:
      fields = (folder / "stat").read_text().rpartition(")")[2].split()
    except OSError:  # it has just ended
      continue
    stats[int(folder.name)] = int(fields[1]), int(fields[11]) + int(fields[12])
  family = {os.getpid()}
  while more := {p for p in stats if stats[p][0] in family} - family:
    family |= more
  return sum(stats[p][1] for p in family) / _TICKS


def read(
  folder: pathlib.Path, threads: int, workers: int, args: argparse.Namespace
) -> dict[str, float]:
  """Reads `args.batches` batches; images a second and the rest."""
  stream = pipeline.train_batches(
    examples.DecodedImages(sources.ImageFolder(str(folder)), Form(3)),
    image_transform.ImageTrainTransform(
      SIZE, PATCH, image_masks.BeitBlockMask(ratio=MASKED / 196)
    ),
    seed=0,
    batch_size=args.batch,
    num_threads=threads * max(1, workers),
    num_workers=workers,
  )
  for _ in itertools.islice(stream, args.warm):
    pass
  start, cpu = time.perf_counter(), processor_seconds()
  for _ in itertools.islice(stream, args.batches):
    pass
  wall, cpu = time.perf_counter() - start, processor_seconds() - cpu
  stream.close()
  images = args.batches * args.batch
  return {
    "images_per_second": images / wall,
    "processor_ms_per_image": 1000 * cpu / images,
    "cores_used": cpu / wall,
    "load": os.getloadavg()[0],
  }


def main() -> None:
  """Runs everything and writes the result."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--images", type=int, default=96, help="pictures to make")
  parser.add_argument("--batch", type=int, default=32)
  parser.add_argument("--batches", type=int, default=20, help="of a round")
  parser.add_argument("--warm", type=int, default=10, help="batches before")
  parser.add_argument("--threads", type=int, nargs="+", default=[1, 2, 4])
  parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
  parser.add_argument("--repeats", type=int, default=3, help="rounds")
  parser.add_argument("--out", type=pathlib.Path, help="JSON file to write")
  args = parser.parse_args()
  cases = list(itertools.product(args.workers, args.threads))
  rounds: dict[str, list[dict[str, float]]] = {}
  record: dict[str, Any] = {
    "machine": machine(),
    "settings": {**vars(args), "out": None},
    "rounds": rounds,
  }
  with tempfile.TemporaryDirectory() as name:
    make_pictures(pathlib.Path(name), args.images)
    for _ in range(args.repeats):
      for workers, threads in cases:
        key = f"{workers} workers, {threads} threads each"
        done = read(pathlib.Path(name), threads, workers, args)
        rounds.setdefault(key, []).append(done)
  print(f"{'medians':30}{'images/s':>10}{'CPU ms':>10}{'cores':>8}")
  for key, every in rounds.items():
    rate, cpu, cores = (
      statistics.median(r[name] for r in every)
      for name in ("images_per_second", "processor_ms_per_image", "cores_used")
    )
    print(f"{key:30}{rate:10.0f}{cpu:10.2f}{cores:8.2f}")
  out = args.out or pathlib.Path(
    f"benchmarks/results/input_scaling_{platform.node()}.json"
  )
  out.parent.mkdir(parents=True, exist_ok=True)
  out.write_text(json.dumps(record, indent=2) + "\n")
  print(f"wrote {out}")


if __name__ == "__main__":
  main()
