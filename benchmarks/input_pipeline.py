"""Measures the image input pipeline beside a torchvision-style one in Pillow.

  python -m benchmarks.input_pipeline --images 96 --repeats 5

Writes benchmarks/results/input_pipeline_<machine>.json and prints a table.
Pictures are made up here: smooth random fields with some noise, about as large
as ImageNet's. Ours and the peer take turns, so that other load on the machine
hits both; the median over the repeats is what counts.
"""

import argparse
import concurrent.futures
import datetime
import io
import itertools
import json
import os
import pathlib
import platform
import random
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence

import cv2
import grain
import numpy as np
import simplejpeg
from PIL import Image, ImageEnhance
from PIL import __version__ as pillow_version

from d2v_jax.data import pipeline
from d2v_jax.data.images import cropping, decoding, examples, sources
from d2v_jax.data.images import transform as image_transform
from d2v_jax.data.images.pixels import Form
from d2v_jax.data.masks import image as image_masks
from tests.reference import masking as plain_masking

SIZE, PATCH, MASKED = 224, 16, 120


def make_pictures(folder: pathlib.Path, count: int) -> None:
  """Writes `count` JPEGs of about 500 x 375 pixels, quality 90."""
  rng = np.random.default_rng(0)
  for i in range(count):
    rows, cols = 375 + 5 * (i % 5 - 2), 500 + 7 * (i % 3 - 1)
    field = np.zeros((rows, cols, 3), np.float32)
    for cells, height in ((4, 60), (16, 35), (64, 20)):
      coarse = rng.normal(0, height, (cells, cells, 3)).astype(np.float32)
      field += cv2.resize(coarse, (cols, rows), interpolation=cv2.INTER_CUBIC)
    field += 128 + rng.normal(0, 6, field.shape)
    image = Image.fromarray(np.clip(field, 0, 255).astype(np.uint8))
    image.save(folder / f"{i:04d}.jpg", quality=90)


def our_image(data: bytes, transform, rng: np.random.Generator) -> dict:
  """Decodes, augments and masks one image with the library's functions."""
  example = {"image": decoding.decode(data, 3), "requested": 0, "record": 0}
  return transform(example, rng)


def peer_image(data: bytes, size: int) -> tuple[np.ndarray, np.ndarray]:
  """The same work as torchvision and BEiT do it: Pillow and plain Python."""
  image = Image.open(io.BytesIO(data)).convert("RGB")
  steps = [ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color]
  random.shuffle(steps)
  for step in steps:
    image = step(image).enhance(random.uniform(0.6, 1.4))
  if random.random() < 0.5:
    image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
  rng = np.random.default_rng(random.getrandbits(32))
  shape = (image.height, image.width)
  box = cropping.crop_box(rng, shape, (0.08, 1.0), (3 / 4, 4 / 3))
  top, left, height, width = box
  image = image.crop((left, top, left + width, top + height))
  image = image.resize((size, size), Image.Resampling.BICUBIC)
  side = size // PATCH
  share = round(MASKED / 196 * side * side)
  mask = plain_masking.block_mask(side, side, share, 16, side * side)
  return np.asarray(image), mask


def alternate(
  jobs: dict[str, Callable[[], int]], repeats: int
) -> dict[str, dict]:
  """Runs the jobs in turns.

  Args:
    jobs: name -> function that does some work and returns how many items.
    repeats: rounds, after one that does not count.

  Returns:
    name -> items per second: median, fastest, slowest, and every round.
  """
  rates: dict[str, list[float]] = {name: [] for name in jobs}
  for round_number in range(repeats + 1):
    for name, job in jobs.items():
      start = time.perf_counter()
      items = job()
      seconds = time.perf_counter() - start
      if round_number > 0:
        rates[name].append(items / seconds)
  return {
    name: {
      "median": statistics.median(values),
      "fastest": max(values),
      "slowest": min(values),
      "rounds": values,
    }
    for name, values in rates.items()
  }


def image_jobs(
  folder: pathlib.Path, size: int, threads: int
) -> dict[str, Callable[[], int]]:
  """Jobs that make training images from the files in `folder`."""
  files = sources.ImageFolder(str(folder))
  encoded = [files[i]["image"] for i in range(len(files))]
  mask = image_masks.BeitBlockMask(ratio=MASKED / 196)
  transform = image_transform.ImageTrainTransform(size, PATCH, mask)
  rng = np.random.default_rng(0)
  batch_size = min(16, len(files))
  num_batches = max(2 * threads, len(files) // batch_size)

  def ours() -> int:
    return len([our_image(data, transform, rng) for data in encoded])

  def peer() -> int:
    return len([peer_image(data, size) for data in encoded])

  def ours_threads() -> int:
    batches = pipeline.train_batches(
      examples.DecodedImages(files, Form(3)),
      transform,
      seed=0,
      batch_size=batch_size,
      num_threads=threads,
    )
    for _ in itertools.islice(batches, num_batches):
      pass
    batches.close()
    return num_batches * batch_size

  def peer_threads() -> int:
    work = list(
      itertools.islice(itertools.cycle(encoded), num_batches * batch_size)
    )
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
      done = list(pool.map(lambda data: peer_image(data, size), work))
    for start in range(0, len(done), batch_size):
      np.stack([image for image, _ in done[start : start + batch_size]])
    return len(done)

  return {
    "images, 1 thread: ours": ours,
    "images, 1 thread: peer": peer,
    f"images, {threads} threads: ours": ours_threads,
    f"images, {threads} threads: peer": peer_threads,
  }


def part_jobs(folder: pathlib.Path, size: int) -> dict[str, Callable[[], int]]:
  """Jobs that time decoders, resizing and masks by themselves."""
  encoded = [file.read_bytes() for file in sorted(folder.iterdir())]
  pictures = [decoding.decode(data, 3) for data in encoded]
  pillow_pictures = [Image.fromarray(picture) for picture in pictures]
  rng = np.random.default_rng(0)
  grid = (14, 14)
  mask = image_masks.BeitBlockMask(MASKED)

  def each(function: Callable, items: Sequence) -> Callable[[], int]:
    return lambda: len([function(item) for item in items])

  return {
    "decode: simplejpeg": each(simplejpeg.decode_jpeg, encoded),
    "decode: ours (with checks)": each(
      lambda data: decoding.decode(data, 3), encoded
    ),
    "decode: cv2": each(
      lambda data: cv2.imdecode(
        np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB
      ),
      encoded,
    ),
    "decode: Pillow": each(
      lambda data: np.asarray(Image.open(io.BytesIO(data)).convert("RGB")),
      encoded,
    ),
    "resize: ours": each(lambda p: cropping.resize(p, (size, size)), pictures),
    "resize: Pillow": each(
      lambda p: p.resize((size, size), Image.Resampling.BICUBIC),
      pillow_pictures,
    ),
    "masks: ours": each(lambda _: mask(rng, {"grid": grid}), range(1000)),
    "masks: peer": each(
      lambda _: plain_masking.block_mask(*grid, MASKED, 16, 196), range(1000)
    ),
  }


def machine() -> dict[str, str | int]:
  """What the numbers were measured on, and with."""
  info = pathlib.Path("/proc/cpuinfo")
  lines = info.read_text().splitlines() if info.exists() else []
  names = [line.split(":")[1].strip() for line in lines if "model name" in line]
  commit = subprocess.run(
    ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False
  )
  return {
    "cpu": names[0] if names else platform.processor(),
    "cores": len(os.sched_getaffinity(0)),
    "load_before": round(os.getloadavg()[0], 2),
    "python": platform.python_version(),
    "numpy": np.__version__,
    "opencv": cv2.__version__,
    "simplejpeg": simplejpeg.__version__,
    "pillow": pillow_version,
    "grain": grain.__version__,
    "commit": commit.stdout.strip() or "none",
    "date": datetime.date.today().isoformat(),
  }


def ratios(rates: dict[str, dict]) -> dict[str, float]:
  """Our median over the peer's, for each pair."""
  pairs = {
    name.removesuffix(": ours"): (name, name.replace(": ours", ": peer"))
    for name in rates
    if name.endswith(": ours") and name.replace(": ours", ": peer") in rates
  }
  pairs["resize"] = ("resize: ours", "resize: Pillow")
  pairs["decode"] = ("decode: ours (with checks)", "decode: Pillow")
  return {
    name: rates[ours]["median"] / rates[peer]["median"]
    for name, (ours, peer) in pairs.items()
  }


def main() -> None:
  """Runs everything and writes the result."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--images", type=int, default=96, help="pictures to make")
  parser.add_argument("--size", type=int, default=SIZE, help="output side")
  parser.add_argument("--threads", type=int, default=8)
  parser.add_argument("--repeats", type=int, default=5)
  parser.add_argument("--out", type=pathlib.Path, help="JSON file to write")
  args = parser.parse_args()
  result = {"machine": machine(), "settings": {**vars(args), "out": None}}
  with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    make_pictures(folder, args.images)
    sizes = [file.stat().st_size for file in folder.iterdir()]
    result["mean_file_bytes"] = round(statistics.mean(sizes))
    jobs = image_jobs(folder, args.size, args.threads)
    rates = alternate(jobs, args.repeats)
    rates |= alternate(part_jobs(folder, args.size), args.repeats)
  result["per_second"] = rates
  result["ratios"] = ratios(rates)
  out = args.out or pathlib.Path(
    f"benchmarks/results/input_pipeline_{platform.node()}.json"
  )
  out.parent.mkdir(parents=True, exist_ok=True)
  out.write_text(json.dumps(result, indent=2) + "\n")
  print(f"{'per second':32}{'median':>10}{'slowest':>10}{'fastest':>10}")
  for name, rate in rates.items():
    numbers = (rate["median"], rate["slowest"], rate["fastest"])
    print(f"{name:32}" + "".join(f"{number:10.0f}" for number in numbers))
  for name, ratio in result["ratios"].items():
    print(f"{name}: ours is {ratio:.2f} times as fast")
  print(f"wrote {out}")


if __name__ == "__main__":
  main()
