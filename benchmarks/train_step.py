"""Measures the whole training step, beside the same step in PyTorch.

  python -m benchmarks.train_step --model vit_base --batch 8 --compile
  python -m benchmarks.train_step --model speech_base --seconds 5 --batch 2
  python -m benchmarks.train_step --model text_base --tokens 512 --batch 2

Teacher forward, student forward and backward, clipping, AdamW and EMA through
the same function as a run, compiled, on one batch that stays on the device. If
torch and transformers are installed, the same algorithm in PyTorch takes turns
with it, so that other load on the machine hits both; before that the two must
agree over two updates from the same weights. Writes
benchmarks/results/train_step_<model>_<device>.json.
"""

import argparse
import functools
import importlib.util
import json
import os
import pathlib
import time
from typing import Any

# Read when JAX and PyTorch are imported. Leave room for both on one GPU. Do not
# let PyTorch's threads spin: where other work wants the cores, it took 30 times
# as long.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import timing, workloads
from benchmarks.timing import Job
from d2v_jax import optimizer, train_state
from d2v_jax.ema import Ema
from d2v_jax.modalities import MODALITIES
from d2v_jax.models.heads import RegressionHead
from d2v_jax.objectives.data2vec import Data2Vec
from d2v_jax.train_step import train_step

STEPS_AGREE = 2


class Ours:
  """The library's step, compiled ahead of time, and its state."""

  def __init__(self, config: dict[str, Any], batch: dict[str, np.ndarray]):
    dtype = config["compute_dtype"]
    encoder = MODALITIES[config["modality"]].encoder(
      **config["encoder"], compute_dtype=dtype
    )
    spec = dict(config["objective"])
    head = RegressionHead(**spec.pop("head"), compute_dtype=dtype)
    ema = Ema(**spec.pop("ema"))
    schedule = optimizer.constant(**config["schedule"])
    self._parts = {
      "objective": Data2Vec(encoder=encoder, head=head, ema=ema, **spec),
      "tx": optimizer.adamw(schedule, **config["optimizer"]),
    }
    self._batch = jax.device_put(batch)
    key = jax.random.key(0)
    create = functools.partial(train_state.create, **self._parts)
    step = functools.partial(train_step, schedule=schedule, **self._parts)
    step = jax.jit(step, donate_argnums=0)
    start = time.perf_counter()
    self._step = step.lower(
      jax.eval_shape(create, key, self._batch), self._batch
    ).compile()
    self.compile_seconds = time.perf_counter() - start
    memory = self._step.memory_analysis()
    self.peak_bytes = (
      memory.argument_size_in_bytes
      + memory.output_size_in_bytes
      + memory.temp_size_in_bytes
      - memory.alias_size_in_bytes
    )
    self.state = jax.jit(create)(key, self._batch)

  def load(self, params: dict[str, Any]) -> None:
    """Starts from given student parameters; the teacher is their copy."""
    params = jax.tree.map(jnp.array, params)
    self.state = train_state.from_params(
      jax.random.key(0), params, **self._parts
    )

  def __call__(self) -> tuple[jax.Array, jax.Array]:
    """Starts one update; returns the loss and the gradient's norm."""
    self.state, metrics = self._step(self.state, self._batch)
    return metrics["loss"], metrics["grad_norm"]

  def wait(self) -> None:
    """Returns when all updates are done."""
    jax.block_until_ready(self.state)


def check_agreement(ours: Ours, peer: Any, batch: tuple, dtype: str) -> dict:
  """Runs the first updates of both from the same weights.

  Returns:
    Losses and gradient norms of both, and how far the changes of the student
    and of the teacher are apart, relative to the changes.

  Raises:
    ValueError: if they do not compute the same.
  """
  start = peer.tree(peer.student)
  ours.load(start)
  values = {"ours": [], "peer": []}
  for _ in range(STEPS_AGREE):
    values["ours"].append(tuple(float(x) for x in ours()))
    values["peer"].append(tuple(float(x) for x in peer(*batch)))
  found = {**values}
  for name, mine, other in (
    ("student", ours.state.params, peer.student),
    ("teacher", ours.state.teacher_params, peer.teacher),
  ):
    before = {key: start[key] for key in mine}
    found[f"{name}_change"] = _difference(before, mine, peer.tree(other))
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


def measure(args: argparse.Namespace) -> dict[str, Any]:
  """Checks, then times; returns everything that is written."""
  device = "cuda" if jax.default_backend() == "gpu" else "cpu"
  dtype = args.dtype or ("bfloat16" if device == "cuda" else "float32")
  with_torch = not args.alone and all(
    importlib.util.find_spec(name) for name in ("torch", "transformers")
  )
  record = {"machine": timing.machine(with_torch)}
  setup = (args.model, args.config, args.batch, dtype)
  plain = workloads.make_config(*setup, regularised=False)
  config = workloads.make_config(*setup, regularised=args.regularised)
  batch = workloads.make_batch(plain, args.seconds, args.tokens)
  ours = Ours(plain, batch)
  peers = {}
  if with_torch:
    peers = _peers(args.compile, ours, plain, config, batch, device, record)
  variants = {"ours": (config, batch)}
  if args.sweep:
    for name, change in workloads.SWEEP[config["modality"]].items():
      changed = {**config, "encoder": {**config["encoder"], **change}}
      variants[name] = changed, batch
    if config["modality"] == "speech":
      padding = np.zeros_like(batch["mask"])
      variants["ours, padding"] = config, {**batch, "padding": padding}
  jobs = {}
  for name, variant in variants.items():
    if variant != (plain, batch):
      ours = Ours(*variant)
    jobs[name] = Job(ours, ours.wait)
    record.setdefault("compile_seconds", {})[name] = ours.compile_seconds
    record.setdefault("peak_bytes", {})[name] = ours.peak_bytes
  wall, cpu = timing.alternate(jobs | peers, args.repeats, args.steps)
  if with_torch and device == "cuda":
    import torch

    record["peak_bytes"]["torch"] = torch.cuda.max_memory_allocated()
  return record | {
    "config": config,
    "masked": sorted(set(batch["mask"].sum(1).tolist())),
    "shapes": {key: value.shape for key, value in batch.items()},
    "flops_per_example": workloads.flops_per_example(config, batch),
    "matmul_peak": timing.matmul_peak(device, dtype, with_torch),
    "wall": timing.compare(wall, "ours"),
    "cpu": timing.compare(cpu, "ours"),
  }


def _peers(with_compile, ours, plain, config, batch, device, record):
  from benchmarks import torch_step

  peer = torch_step.Step(plain, device, compiled=False)
  tensors = peer.batch(batch)
  peer.student.eval()
  record["agreement"] = check_agreement(
    ours, peer, tensors, plain["compute_dtype"]
  )
  kinds = {"eager": False} | ({"compiled": True} if with_compile else {})
  jobs = {}
  for name, compiled in kinds.items():
    step = torch_step.Step(config, device, compiled)
    step.student.train()
    jobs[name] = Job(
      functools.partial(step, *tensors), lambda: timing.torch_wait(device)
    )
  return jobs


def report(record: dict[str, Any], batch: int) -> None:
  """Prints the table."""
  work = batch * record["flops_per_example"]
  for clock in ("wall", "cpu"):
    peak = max(record["matmul_peak"][clock].values())
    print(f"{clock + ' s a step':16}{'median':>8}{'min':>8}{'max':>8}", end="")
    print(f"{'examples/s':>12}{'GFLOP/s':>10}{'of peak':>9}", end="")
    print("   ours / it: of medians, by round (median, min, max)")
    for name, s in record[clock].items():
      rate = work / s["median"]
      print(
        f"{name:16}{s['median']:8.3f}{s['min']:8.3f}{s['max']:8.3f}", end=""
      )
      print(f"{batch / s['median']:12.2f}{rate / 1e9:10.1f}", end="")
      r = s["ratio_of_rounds"]
      print(f"{rate / peak:9.0%}{s['ratio_of_medians']:14.2f},", end="")
      print(f" {r['median']:.2f}, {r['min']:.2f} to {r['max']:.2f}")
  for clock, values in record["matmul_peak"].items():
    peaks = {k: round(v / 1e9) for k, v in values.items()}
    print(f"matmul peak, GFLOP a {clock} second: {peaks}")
  for name, value in record["peak_bytes"].items():
    print(f"memory of a step, {name}: {value / 2**20:.0f} MiB")
  if "agreement" not in record:
    print("torch and transformers are not in use: no peer was measured.")


def main() -> None:
  """Runs everything and writes the result."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument(
    "--model", choices=sorted(workloads.MODELS), default="vit_base"
  )
  parser.add_argument("--config", help="config file in place of the model's")
  parser.add_argument("--batch", type=int, default=8)
  parser.add_argument(
    "--seconds", type=float, default=5.0, help="of an utterance"
  )
  parser.add_argument("--tokens", type=int, default=512, help="of a text")
  parser.add_argument("--steps", type=int, default=1, help="a round")
  parser.add_argument("--repeats", type=int, default=5, help="rounds")
  parser.add_argument("--dtype", choices=("float32", "bfloat16"))
  parser.add_argument("--platform", help="JAX platform: cpu, cuda")
  parser.add_argument("--compile", action="store_true", help="torch.compile")
  parser.add_argument(
    "--regularised",
    action="store_true",
    help="keep the config's dropout and drop path",
  )
  parser.add_argument(
    "--sweep", action="store_true", help="also time variants of ours"
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
