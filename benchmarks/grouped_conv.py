"""Measures the grouped convolutions of positions, beside PyTorch's.

  python -m benchmarks.grouped_conv --batch 2 --frames 249 --repeats 10

Both formulations of `d2v_jax.models.convolution`, and if torch is installed
torch.nn.functional.conv1d, take turns; before that all must agree. Writes
benchmarks/results/grouped_conv_<device>.json.
"""

import argparse
import functools
import importlib.util
import json
import os
import pathlib
from collections.abc import Callable
from typing import Any

# Read when JAX and PyTorch are imported; see train_step.py.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import timing
from benchmarks.timing import Job
from d2v_jax.models import convolution

# data2vec's, five in a row; wav2vec 2.0's.
KERNELS = (19, 128)
OURS = {"lax": convolution.lax_conv, "windows": convolution.windows_conv}


def jax_functions(
  conv: Callable, groups: int
) -> dict[str, Callable[..., tuple[jax.Array, ...]]]:
  """Compiled (x, kernel, g) -> (y,), and -> (y, gradients at g)."""

  def forward(x, kernel, g):
    del g
    return (conv(x, kernel, groups),)

  def both(x, kernel, g):
    y, pull = jax.vjp(lambda x, k: conv(x, k, groups), x, kernel)
    return y, *pull(g)

  return {"forward": jax.jit(forward), "forward+backward": jax.jit(both)}


def torch_functions(kernel_size: int, groups: int) -> dict[str, Callable]:
  """(x, weight, g) in PyTorch's layout -> the same."""
  import torch

  conv = functools.partial(
    torch.nn.functional.conv1d, padding=kernel_size // 2, groups=groups
  )

  def forward(x, weight, g):
    with torch.no_grad():
      return (conv(x, weight)[..., : g.shape[2]],)

  def both(x, weight, g):
    y = conv(x, weight)[..., : g.shape[2]]
    return y.detach(), *torch.autograd.grad(y, (x, weight), g)

  return {"forward": forward, "forward+backward": both}


def make_jobs(
  kernel_size: int, args: argparse.Namespace, device: str, dtype: str
) -> dict[str, dict[str, Job]]:
  """Direction -> name -> job.

  Raises:
    ValueError: if the jobs do not compute the same.
  """
  rng = np.random.default_rng(0)
  shape = (args.batch, args.frames, args.width)
  x, g = (rng.standard_normal(shape, np.float32) for _ in range(2))
  size = (kernel_size, args.width // args.groups, args.width)
  kernel = rng.standard_normal(size, np.float32)
  kernel *= (size[0] * size[1]) ** -0.5
  arrays = [jnp.asarray(a, dtype) for a in (x, kernel, g)]
  jobs: dict[str, dict[str, Job]] = {}
  for name, conv in OURS.items():
    for direction, call in jax_functions(conv, args.groups).items():
      jobs.setdefault(direction, {})[name] = _jax_job(call, arrays)
  expected = [np.asarray(a, np.float32) for a in jobs[direction]["lax"].call()]
  found = {"windows": jobs[direction]["windows"].call()}
  if not args.alone and importlib.util.find_spec("torch"):
    import torch

    tensors = [
      torch.from_numpy(a.transpose(order).copy())
      .to(device, getattr(torch, dtype))
      .requires_grad_(i < 2)
      for i, (a, order) in enumerate(
        ((x, (0, 2, 1)), (kernel, (2, 1, 0)), (g, (0, 2, 1)))
      )
    ]
    for direction, call in torch_functions(kernel_size, args.groups).items():
      jobs[direction]["torch"] = Job(
        functools.partial(call, *tensors), lambda: timing.torch_wait(device)
      )
    y, dx, dkernel = (a.float().cpu() for a in jobs[direction]["torch"].call())
    found["torch"] = y.mT, dx.mT, dkernel.permute(2, 1, 0)
  for name, values in found.items():
    _check(name, values, expected, dtype)
  return jobs


def _jax_job(call, arrays):
  return Job(lambda: jax.block_until_ready(call(*arrays)), lambda: None)


def _check(name, values, expected, dtype):
  limit = 1e-4 if dtype == "float32" else 5e-2
  for value, right in zip(values, expected, strict=True):
    apart = np.asarray(value, np.float32) - right
    apart = np.linalg.norm(apart) / np.linalg.norm(right)
    if not apart < limit:
      raise ValueError(
        f"{name} and lax do not compute the same: they differ by {apart:.2g}, "
        f"allowed is {limit:.2g}."
      )


def measure(args: argparse.Namespace) -> dict[str, Any]:
  """Times all; returns what is written."""
  device = "cuda" if jax.default_backend() == "gpu" else "cpu"
  dtype = args.dtype or ("bfloat16" if device == "cuda" else "float32")
  with_torch = not args.alone and all(
    importlib.util.find_spec(name) for name in ("torch", "transformers")
  )
  record = {
    "machine": timing.machine(with_torch),
    "settings": {**vars(args), "out": None, "dtype": dtype},
    "seconds": {},
  }
  for kernel_size in KERNELS:
    jobs = make_jobs(kernel_size, args, device, dtype)
    for direction, named in jobs.items():
      wall, cpu = timing.alternate(named, args.repeats, args.steps)
      record["seconds"][f"kernel {kernel_size}, {direction}"] = {
        "wall": timing.compare(wall, "windows"),
        "cpu": timing.compare(cpu, "windows"),
      }
  return record


def report(record: dict[str, Any]) -> None:
  """Prints the table."""
  print(f"{'ms a call, windows over it':36}{'median':>9}{'min':>9}{'max':>9}")
  for case, clocks in record["seconds"].items():
    for clock, names in clocks.items():
      print(f"{case}, {clock}")
      for name, s in names.items():
        numbers = "".join(
          f"{1e3 * s[k]:9.2f}" for k in ("median", "min", "max")
        )
        r = s["ratio_of_rounds"]
        print(f"  {name:34}{numbers}{s['ratio_of_medians']:8.2f},", end="")
        print(f" {r['median']:.2f}, {r['min']:.2f} to {r['max']:.2f}")
  print("ratios: of medians, by round (median, min, max)")


def main() -> None:
  """Runs everything and writes the result."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--batch", type=int, default=2)
  parser.add_argument("--frames", type=int, default=249, help="249 are 5 s")
  parser.add_argument("--width", type=int, default=768)
  parser.add_argument("--groups", type=int, default=16)
  parser.add_argument("--steps", type=int, default=1, help="calls a round")
  parser.add_argument("--repeats", type=int, default=10, help="rounds")
  parser.add_argument("--dtype", choices=("float32", "bfloat16"))
  parser.add_argument("--platform", help="JAX platform: cpu, cuda")
  parser.add_argument("--alone", action="store_true", help="leave PyTorch out")
  parser.add_argument("--out", type=pathlib.Path, help="JSON file to write")
  args = parser.parse_args()
  if args.platform:
    jax.config.update("jax_platforms", args.platform)
  record = measure(args)
  report(record)
  kind = jax.devices()[0].device_kind.replace(" ", "_")
  out = args.out or pathlib.Path(f"benchmarks/results/grouped_conv_{kind}.json")
  out.parent.mkdir(parents=True, exist_ok=True)
  out.write_text(json.dumps(record, indent=2) + "\n")
  print(f"wrote {out}")


if __name__ == "__main__":
  main()
