"""Measures the whole training step, beside the same step in PyTorch.

  python -m benchmarks.train_step --model vit_base --batch 8 --compile

Teacher forward, student forward and backward, clipping, AdamW and EMA through
the same compiled function as a run, on one batch that stays on the device. If
torch and transformers are installed, the same algorithm in PyTorch takes turns
with it, so that other load on the machine hits both; before that the two must
agree over two updates from the same weights. Writes
benchmarks/results/train_step_<model>_<device>.json.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import os
import pathlib
import platform
import re
import statistics
import time
from collections.abc import Callable
from typing import Any

# Before JAX is imported: leave room for PyTorch on the same GPU.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import jax
import jax.numpy as jnp
import numpy as np

from d2v_jax import config as config_lib
from d2v_jax import experiment, provenance, train_state
from d2v_jax.trainer import Trainer

MODELS = {
  "vit_base": {},
  "vit_small": {"width": 384, "num_heads": 6},
  "vit_tiny": {"width": 192, "num_heads": 3},
}
STEPS_AGREE = 2


def make_config(
  path: str, model: str, batch_size: int, dtype: str, regularised: bool
) -> dict[str, Any]:
  """The experiment's config, made to run without data.

  The rate and the teacher's decay are constant, and values at which two updates
  show in the loss; neither changes the time of a step. scikit-learn's digits,
  enlarged, stand in for the images.
  """
  c = config_lib.load(path)
  c.batch_size, c.compute_dtype = batch_size, dtype
  c.accumulate, c.num_devices = 1, 1
  c.encoder.update(MODELS[model])
  if not regularised:
    c.encoder.update(drop_path=0.0, attention_dropout=0.0)
  spec = config_lib.plain(c)
  spec["data"]["source"] = {"name": "digits", "split": "train"}
  spec["data"].update(num_threads=1, num_workers=0)
  spec["objective"]["ema"] = {"start": 0.99, "end": 0.99}
  spec["schedule"] = {"name": "constant", "peak": 1e-3}
  spec["evaluation"] = {}
  return spec


def flops_per_image(encoder: dict[str, Any], channels: int) -> float:
  """Matrix products of a step, two operations for each multiply-add.

  Forward once for the teacher, three times for the student: its backward pass
  is twice the forward one.
  """
  width, patch = encoder["width"], encoder["patch_size"]
  patches = (encoder["image_size"] // patch) ** 2
  tokens = patches + 1
  embed = patches * patch**2 * channels * width
  block = tokens * 12 * width**2 + 2 * tokens**2 * width
  head = patches * width**2
  encoder_macs = embed + encoder["depth"] * block
  return 2.0 * (4 * encoder_macs + 3 * head)


class Ours:
  """The library's step, compiled ahead of time, and its state."""

  def __init__(self, trainer: Trainer, batch: dict[str, np.ndarray]):
    self._trainer = trainer
    self._batch = trainer.to_devices(batch)
    start = time.perf_counter()
    self._step = trainer.step.lower(
      trainer.abstract_state, self._batch
    ).compile()
    self.compile_seconds = time.perf_counter() - start
    memory = self._step.memory_analysis()
    self.peak_bytes = (
      memory.argument_size_in_bytes
      + memory.output_size_in_bytes
      + memory.temp_size_in_bytes
      - memory.alias_size_in_bytes
    )
    self.state = trainer.init_state()

  def load(self, params: dict[str, Any]) -> None:
    """Starts from given student parameters; the teacher is their copy."""
    parts = self._trainer.experiment
    state = train_state.from_params(
      jax.random.key(0),
      jax.tree.map(jnp.array, params),
      objective=parts.objective,
      tx=parts.tx,
    )
    shardings = jax.tree.map(lambda a: a.sharding, self._trainer.abstract_state)
    self.state = jax.device_put(state, shardings)

  def __call__(self) -> tuple[float, float]:
    """One update; returns the loss and the gradient's norm."""
    self.state, metrics = self._step(self.state, self._batch)
    jax.block_until_ready(self.state)
    return float(metrics["loss"]), float(metrics["grad_norm"])


def check_agreement(ours: Ours, peer: Any, batch: tuple, dtype: str) -> dict:
  """Runs the first updates of both from the same weights.

  Returns:
    Losses and gradient norms of both, and how far the changes of the student
    and of the teacher are apart, relative to the changes.

  Raises:
    ValueError: if they do not compute the same.
  """
  from benchmarks import torch_step

  start = torch_step.tree(peer.student)
  ours.load(start)
  values = {"ours": [], "peer": []}
  for _ in range(STEPS_AGREE):
    values["ours"].append(ours())
    values["peer"].append(tuple(float(x) for x in peer(*batch)))
  found = {**values}
  for name, mine, other in (
    ("student", ours.state.params, peer.student),
    ("teacher", ours.state.teacher_params, peer.teacher),
  ):
    found[f"{name}_change"] = _difference(start, mine, torch_step.tree(other))
  # Bfloat16 keeps 8 bits, and Adam's first updates are signs of gradients.
  loose = dtype != "float32"
  limits = {
    "loss": 1e-2 if loose else 1e-4,
    "gradient norm": 1e-1 if loose else 1e-3,
    "change": 0.5 if loose else 0.02,
  }
  mine, other = np.array(values["ours"]), np.array(values["peer"])
  apart = np.abs(mine - other).max(0) / np.abs(other).min(0)
  apart = {
    "loss": apart[0],
    "gradient norm": apart[1],
    "change": max(found["student_change"], found["teacher_change"]),
  }
  for name, value in apart.items():
    if not value <= limits[name]:
      raise ValueError(
        f"the two do not compute the same: {name} differs by {value:.2g}, "
        f"allowed is {limits[name]:.2g}; {found}."
      )
  return found


def _difference(start, mine, other):
  sums = np.zeros(2)
  for a, b, c in zip(*map(jax.tree.leaves, (start, mine, other)), strict=True):
    sums += np.square(np.asarray(b) - c).sum(), np.square(c - a).sum()
  return float(np.sqrt(sums[0] / sums[1]))


def matmul_jobs(device: str, dtype: str, with_torch: bool) -> dict:
  """Name -> function that does one large square product."""
  side = 2048 if device == "cpu" else 8192
  product = jax.jit(jnp.matmul)
  x = jnp.ones((side, side), dtype)
  jobs = {"ours": lambda: product(x, x).block_until_ready()}
  if with_torch:
    import torch

    y = torch.ones(side, side, dtype=getattr(torch, dtype), device=device)
    jobs["eager"] = lambda: (y @ y, _torch_wait(device))
  return {"flops": 2.0 * side**3, "jobs": jobs}


def _torch_wait(device):
  import torch

  if device == "cuda":
    torch.cuda.synchronize()


def alternate(
  jobs: dict[str, Callable[[], Any]], repeats: int, steps: int
) -> dict[str, list[float]]:
  """Seconds a call, for each round: `steps` calls of one job, then the next."""
  for job in jobs.values():
    job()
  seconds: dict[str, list[float]] = {name: [] for name in jobs}
  for _ in range(repeats):
    for name, job in jobs.items():
      start = time.perf_counter()
      for _ in range(steps):
        job()
      seconds[name].append((time.perf_counter() - start) / steps)
  return seconds


def spread(values: list[float]) -> dict[str, float]:
  """Median, smallest and largest."""
  return {
    "median": statistics.median(values),
    "min": min(values),
    "max": max(values),
  }


def machine(device: str) -> dict[str, Any]:
  """What the numbers were measured on, and with."""
  info = pathlib.Path("/proc/cpuinfo")
  text = info.read_text() if info.exists() else ""
  names = re.findall(r"model name\s*: (.*)", text)
  versions = {}
  for package in ("torch", "transformers"):
    if importlib.util.find_spec(package):
      versions[package] = importlib.metadata.version(package)
  found = {
    **provenance.environment(),
    "cpu": names[0] if names else platform.processor(),
    "cores": len(os.sched_getaffinity(0)),
    "load_at_start": os.getloadavg(),
  }
  found["versions"].update(versions)
  if "torch" in versions:
    import torch

    found["torch_threads"] = torch.get_num_threads()
    if device == "cuda":
      found["torch_device"] = torch.cuda.get_device_name()
  return found


def measure(args: argparse.Namespace) -> dict[str, Any]:
  """Checks, then times; returns everything that is written."""
  device = "cuda" if jax.default_backend() == "gpu" else "cpu"
  dtype = args.dtype or ("bfloat16" if device == "cuda" else "float32")
  record = {"machine": machine(device)}
  setup = (args.config, args.model, args.batch, dtype)
  plain = make_config(*setup, regularised=False)
  config = make_config(*setup, regularised=args.regularised)
  trainer = Trainer(experiment.from_config(plain))
  batches = trainer.experiment.batches()
  batch = next(batches)
  batches.close()
  batch["inputs"] = batch["inputs"].astype(np.float32)
  record["masked"] = sorted(set(batch["mask"].sum(1).tolist()))
  ours = Ours(trainer, batch)
  with_torch = not args.alone and all(
    importlib.util.find_spec(name) for name in ("torch", "transformers")
  )
  jobs: dict[str, Callable[[], Any]] = {"ours": ours}
  if with_torch:
    jobs |= _peers(args, ours, plain, config, batch, device, record)
  if config != plain:
    state = ours.state
    ours = Ours(Trainer(experiment.from_config(config)), batch)
    ours.state = state
    jobs["ours"] = ours
  record["compile_seconds"] = ours.compile_seconds
  record["peak_bytes"] = {"ours": ours.peak_bytes}
  seconds = alternate(jobs, args.repeats, args.steps)
  product = matmul_jobs(device, dtype, with_torch)
  peaks = alternate(product["jobs"], 5, 1)
  if with_torch and device == "cuda":
    import torch

    record["peak_bytes"]["torch"] = torch.cuda.max_memory_allocated()
  record["config"] = config
  record["flops_per_image"] = flops_per_image(config["encoder"], 3)
  record["matmul_peak"] = {k: product["flops"] / min(v) for k, v in peaks.items()}
  record["seconds"] = {k: spread(v) | {"rounds": v} for k, v in seconds.items()}
  record["ratio_to"] = {
    name: spread([a / b for a, b in zip(seconds["ours"], other, strict=True)])
    | {"of_medians": statistics.median(seconds["ours"]) / statistics.median(other)}
    for name, other in seconds.items()
    if name != "ours"
  }
  return record


def _peers(args, ours, plain, config, batch, device, record):
  from benchmarks import torch_step

  peer = torch_step.Step(plain, device, compiled=False)
  tensors = peer.batch(batch)
  peer.student.eval()
  record["agreement"] = check_agreement(
    ours, peer, tensors, plain["compute_dtype"]
  )
  kinds = {"eager": False} | ({"compiled": True} if args.compile else {})
  jobs = {}
  for name, compiled in kinds.items():
    step = torch_step.Step(config, device, compiled)
    step.student.train()
    jobs[name] = lambda step=step: (step(*tensors), _torch_wait(device))
  return jobs


def report(record: dict[str, Any], batch: int) -> None:
  """Prints the table."""
  work = batch * record["flops_per_image"]
  peak = max(record["matmul_peak"].values())
  print(f"{'seconds a step':16}{'median':>8}{'min':>8}{'max':>8}", end="")
  print(f"{'images/s':>10}{'GFLOP/s':>10}{'of peak':>9}")
  for name, s in record["seconds"].items():
    rate = work / s["median"]
    print(f"{name:16}{s['median']:8.3f}{s['min']:8.3f}{s['max']:8.3f}", end="")
    print(f"{batch / s['median']:10.2f}{rate / 1e9:10.1f}{rate / peak:9.0%}")
  for name, r in record["ratio_to"].items():
    print(
      f"ours / {name}: {r['of_medians']:.2f} of medians; by round median "
      f"{r['median']:.2f}, {r['min']:.2f} to {r['max']:.2f}"
    )
  peaks = {k: round(v / 1e9) for k, v in record["matmul_peak"].items()}
  print(f"matmul peak, GFLOP/s: {peaks}")
  for name, value in record["peak_bytes"].items():
    print(f"memory of a step, {name}: {value / 2**20:.0f} MiB")
  if len(record["seconds"]) == 1:
    print("torch and transformers are not in use: no peer was measured.")


def main() -> None:
  """Runs everything and writes the result."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--config", default="configs/vit_base.py")
  parser.add_argument("--model", choices=sorted(MODELS), default="vit_base")
  parser.add_argument("--batch", type=int, default=8)
  parser.add_argument("--steps", type=int, default=1, help="a round")
  parser.add_argument("--repeats", type=int, default=5, help="rounds")
  parser.add_argument("--dtype", choices=("float32", "bfloat16"))
  parser.add_argument("--platform", help="JAX platform: cpu, cuda")
  parser.add_argument("--compile", action="store_true", help="torch.compile")
  parser.add_argument(
    "--regularised",
    action="store_true",
    help="keep the config's drop path and attention dropout",
  )
  parser.add_argument("--alone", action="store_true", help="leave PyTorch out")
  parser.add_argument("--out", type=pathlib.Path, help="JSON file to write")
  args = parser.parse_args()
  if args.platform:
    jax.config.update("jax_platforms", args.platform)
  record = measure(args)
  report(record, args.batch)
  kind = jax.devices()[0].device_kind.replace(" ", "_")
  out = args.out or pathlib.Path(
    f"benchmarks/results/train_step_{args.model}_{kind}.json"
  )
  out.parent.mkdir(parents=True, exist_ok=True)
  out.write_text(json.dumps(record, indent=2) + "\n")
  print(f"wrote {out}")


if __name__ == "__main__":
  main()
