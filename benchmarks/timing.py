"""Timing in turns, and what the timing was done on."""

import importlib.metadata
import os
import pathlib
import platform
import re
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from d2v_jax.training.workdir import provenance


class Job(NamedTuple):
  """What to time; `call` may return early, `wait` when all calls are done."""

  call: Callable[[], Any]
  wait: Callable[[], Any]


def alternate(
  jobs: dict[str, Job], repeats: int, steps: int
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
  """Rounds of `steps` calls of one job, then of the next, and so on.

  Returns:
    Name -> seconds a call in each round: by the clock, and of the processor,
    which count all threads and leave out what other processes take.
  """
  for job in jobs.values():
    job.call()
    job.wait()
  wall: dict[str, list[float]] = {name: [] for name in jobs}
  cpu: dict[str, list[float]] = {name: [] for name in jobs}
  for _ in range(repeats):
    for name, job in jobs.items():
      start = time.perf_counter(), time.process_time()
      for _ in range(steps):
        job.call()
      job.wait()
      wall[name].append((time.perf_counter() - start[0]) / steps)
      cpu[name].append((time.process_time() - start[1]) / steps)
  return wall, cpu


def spread(values: list[float]) -> dict[str, float]:
  """Median, smallest and largest."""
  return {
    "median": statistics.median(values),
    "min": min(values),
    "max": max(values),
  }


def compare(seconds: dict[str, list[float]], first: str) -> dict[str, dict]:
  """Spread of the seconds of each job, and of `first` over it."""
  result = {}
  for name, rounds in seconds.items():
    pairs = zip(seconds[first], rounds, strict=True)
    result[name] = {
      **spread(rounds),
      "rounds": rounds,
      "ratio_of_medians": statistics.median(seconds[first])
      / statistics.median(rounds),
      "ratio_of_rounds": spread([mine / other for mine, other in pairs]),
    }
  return result


def matmul_peak(
  device: str, dtype: str, with_torch: bool
) -> dict[str, dict[str, float]]:
  """Operations a second of a large square product, best of five.

  Returns:
    'wall' or 'cpu' -> 'jax' or 'torch' -> operations a second.
  """
  side = 2048 if device == "cpu" else 8192
  product = jax.jit(jnp.matmul)
  x = jnp.ones((side, side), dtype)
  jobs = {"jax": Job(lambda: product(x, x).block_until_ready(), lambda: None)}
  if with_torch:
    import torch

    y = torch.ones(side, side, dtype=getattr(torch, dtype), device=device)
    jobs["torch"] = Job(lambda: y @ y, lambda: torch_wait(device))
  wall, cpu = alternate(jobs, 5, 1)
  return {
    clock: {name: 2.0 * side**3 / min(v) for name, v in seconds.items()}
    for clock, seconds in (("wall", wall), ("cpu", cpu))
  }


def torch_wait(device: str) -> None:
  """Returns when PyTorch's work on the device is done."""
  import torch

  if device == "cuda":
    torch.cuda.synchronize()


def torch_allocated(device: str) -> int:
  """Bytes of PyTorch's tensors on the device now; 0 on a CPU."""
  import torch

  return torch.cuda.memory_allocated() if device == "cuda" else 0


def torch_peak(call: Callable[[], Any]) -> int:
  """Most bytes of PyTorch's tensors on the GPU during a second call.

  The first one makes what stays, and compiles.
  """
  import torch

  call()
  torch.cuda.synchronize()
  torch.cuda.reset_peak_memory_stats()
  call()
  torch.cuda.synchronize()
  return torch.cuda.max_memory_allocated()


def machine(with_torch: bool) -> dict[str, Any]:
  """What the numbers are measured on, and with."""
  info = pathlib.Path("/proc/cpuinfo")
  text = info.read_text() if info.exists() else ""
  names = re.findall(r"model name\s*: (.*)", text)
  found = {
    **provenance.environment(),
    "cpu": names[0] if names else platform.processor(),
    "cores": len(os.sched_getaffinity(0)),
    "load_at_start": os.getloadavg(),
    "environment": {
      key: value
      for key, value in os.environ.items()
      if key.startswith(("OMP_", "XLA_", "JAX_", "MKL_"))
    },
  }
  if with_torch:
    import torch

    for package in ("torch", "transformers"):
      found["versions"][package] = importlib.metadata.version(package)
    found["torch_threads"] = torch.get_num_threads()
  return found
