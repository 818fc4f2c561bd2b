"""Measures the whole training step, beside the same step in PyTorch.

  python -m benchmarks.train_step --model vit_base --batch 8 --compile
  python -m benchmarks.train_step --model speech_base --seconds 5 --batch 2
  python -m benchmarks.train_step --model text_base --tokens 512 --batch 2
  python -m benchmarks.train_step --model vit_base_d2v2 --batch 1

Teacher forward, student forward and backward, clipping, AdamW and EMA through
the same function as a run, compiled, on one batch that stays on the device. If
torch and transformers are installed, the same algorithm in PyTorch takes turns
with it, so that other load on the machine hits both; before that the two must
agree over two updates from the same weights.

A step of data2vec 2.0 for speech or text, or with --alone, takes turns with two
others of the library, and PyTorch is left out: the step of version 1 with as
many examples, and the same update with a teacher pass for each mask.

Writes benchmarks/results/train_step_<model>_<device>.json.
"""

import argparse
import functools
import importlib.util
import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

# Read when JAX and PyTorch are imported. Leave room for both on one GPU. Do not
# let PyTorch's threads spin: where other work wants the cores, it took 30 times
# as long.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import jax
import numpy as np

from benchmarks import agreement, timing, workloads
from benchmarks.jax_step import Step, count_operations
from benchmarks.timing import Job

_BEFORE, _EACH_MASK = "version 1", "teacher for each mask"


def measure(args: argparse.Namespace) -> dict[str, Any]:
  """Checks, then times; returns everything that is written."""
  device = "cuda" if jax.default_backend() == "gpu" else "cpu"
  dtype = args.dtype or ("bfloat16" if device == "cuda" else "float32")
  setup = (args.batch, dtype)
  plain = workloads.make_config(args.model, args.config, *setup, False)
  config = workloads.make_config(
    args.model, args.config, *setup, args.regularised
  )
  batch = workloads.make_batch(plain, args.seconds, args.tokens)
  with_torch = not args.alone and all(
    importlib.util.find_spec(name) for name in ("torch", "transformers")
  )
  others = workloads.is_version_2(config)
  if others and config["modality"] == "vision" and with_torch:
    # Of it there is a peer, which draws other noise.
    plain, others = workloads.without_noise(plain), False
  with_torch &= not others
  record = {"machine": timing.machine(with_torch)}
  variants = {"ours": (config, batch)}
  made, peers = {"ours": Step(plain, batch)}, {}
  if others:
    variants |= _versions(args, config, batch, setup)
    record["version_1_config"] = variants[_BEFORE][0]
    made[_EACH_MASK] = Step(plain, variants[_EACH_MASK][1])
    record["agreement"] = agreement.of_two(*made.values(), dtype)
  if with_torch:
    peers, memory, record["agreement"] = _peers(
      args.compile, made["ours"], plain, config, batch, device
    )
    record["peak_bytes"] = memory
  if args.sweep:
    variants |= _sweep(config, batch)
  if config != plain:
    made.clear()
  jobs = {}
  for name, variant in variants.items():
    step = made.pop(name, None) or Step(*variant)
    jobs[name] = Job(step, step.wait)
    work = _work(*variant, args.batch)
    record.setdefault("work", {})[name] = work
    record.setdefault("compile_seconds", {})[name] = step.compile_seconds
    record.setdefault("peak_bytes", {})[name] = step.peak_bytes
  record["work"] |= dict.fromkeys(peers, record["work"]["ours"])
  wall, cpu = timing.alternate(jobs | peers, args.repeats, args.steps)
  return record | {
    "config": config,
    "masked": sorted(set(batch["mask"].sum(-1).reshape(-1).tolist())),
    "shapes": {key: value.shape for key, value in batch.items()},
    "matmul_peak": timing.matmul_peak(device, dtype, with_torch),
    "wall": timing.compare(wall, "ours"),
    "cpu": timing.compare(cpu, "ours"),
  }


def _versions(args, config, batch, setup):
  """What data2vec 2.0 is compared with: name -> (config, batch)."""
  model = workloads.version_1(args.model)
  before = workloads.make_config(model, None, *setup, args.regularised)
  return {
    _BEFORE: (
      before,
      workloads.make_batch(before, args.seconds, args.tokens),
    ),
    _EACH_MASK: (config, workloads.one_mask_each(batch)),
  }


def _sweep(config, batch):
  variants = {
    name: ({**config, "encoder": {**config["encoder"], **change}}, batch)
    for name, change in workloads.SWEEP[config["modality"]].items()
  }
  if config["modality"] == "speech":
    mask = batch["mask"]
    padding = np.zeros((len(mask), mask.shape[-1]), bool)
    variants["ours, padding"] = config, {**batch, "padding": padding}
  return variants


def _work(config, batch, examples):
  """What an update does: distinct examples, masked versions, operations."""
  masks = workloads.count_masks(batch)
  operations = count_operations(config, batch)
  return {
    "examples": examples,
    "masked_versions": masks,
    "operations": operations,
    "operations_per_example": operations / examples,
    "operations_per_masked_version": operations / masks,
  }


def _peers(with_compile, ours, plain, config, batch, device):
  from benchmarks import torch_step

  peer = torch_step.Step(plain, device, compiled=False)
  tensors = peer.batch(batch)
  peer.student.eval()
  found = agreement.with_peer(ours, peer, tensors, plain["compute_dtype"])
  del peer
  kinds = {"eager": False} | ({"compiled": True} if with_compile else {})
  jobs, memory = {}, {}
  for name, compiled in kinds.items():
    before = timing.torch_allocated(device)
    step = torch_step.Step(config, device, compiled)
    step.student.train()
    jobs[name] = Job(
      functools.partial(step, *tensors), lambda: timing.torch_wait(device)
    )
    if device == "cuda":
      memory[name] = timing.torch_peak(jobs[name].call) - before
  return jobs, memory, found


def report(record: dict[str, Any]) -> None:
  """Prints the table; masks/s are masked versions of distinct examples."""
  for clock in ("wall", "cpu"):
    peak = max(record["matmul_peak"][clock].values())
    print(f"{clock + ' s a step':22}{'median':>8}{'min':>8}{'max':>8}", end="")
    print(f"{'examples/s':>12}{'masks/s':>9}{'GFLOP/s':>9}", end="")
    print(
      f"{'of peak':>9}   ours / it: of medians, by round (median, min, max)"
    )
    for name, s in record[clock].items():
      work, median = record["work"][name], s["median"]
      rate = work["operations"] / median
      print(f"{name:22}{median:8.3f}{s['min']:8.3f}{s['max']:8.3f}", end="")
      print(f"{work['examples'] / median:12.2f}", end="")
      print(f"{work['masked_versions'] / median:9.2f}", end="")
      print(f"{rate / 1e9:9.1f}{rate / peak:9.0%}", end="")
      r = s["ratio_of_rounds"]
      print(f"{s['ratio_of_medians']:14.2f},", end="")
      print(f" {r['median']:.2f}, {r['min']:.2f} to {r['max']:.2f}")
  for clock, values in record["matmul_peak"].items():
    peaks = {k: round(v / 1e9) for k, v in values.items()}
    print(f"matmul peak, GFLOP a {clock} second: {peaks}")
  for name, work in record["work"].items():
    example = work["operations_per_example"] / 1e9
    mask = work["operations_per_masked_version"] / 1e9
    print(f"GFLOP, {name}: {example:.1f} an example, {mask:.1f} a masked one")
  for name, value in record["peak_bytes"].items():
    print(f"memory of a step, {name}: {value / 2**20:.0f} MiB")
  if "version_1_config" in record:
    print("No peer in PyTorch was measured.")
  elif "agreement" not in record:
    print("torch and transformers are not in use: no peer was measured.")


def main(argv: Sequence[str] | None = None) -> None:
  """Runs everything and writes the result.

  Args:
    argv: arguments, without the program's name; None takes the process's.
  """
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument(
    "--model", choices=sorted(workloads.MODELS), default="vit_base"
  )
  parser.add_argument(
    "--config", help="config file in place of the model's, but not in version 1"
  )
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
  args = parser.parse_args(argv)
  if args.platform:
    jax.config.update("jax_platforms", args.platform)
  record = measure(args)
  report(record)
  kind = jax.devices()[0].device_kind.replace(" ", "_")
  out = args.out or pathlib.Path(
    f"benchmarks/results/train_step_{args.model}_{kind}.json"
  )
  out.parent.mkdir(parents=True, exist_ok=True)
  out.write_text(json.dumps(record, indent=2) + "\n")
  print(f"wrote {out}")


if __name__ == "__main__":
  main()
