"""Devices that need not be there, by the name of their topology."""

import contextlib
import dataclasses
import glob
import importlib.metadata
import importlib.resources
import importlib.util
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from jax.experimental import topologies

from d2v_jax.training.logs.device_peaks import Peaks, peaks

# Operations of a TPU's matrix units in a cycle: with the peak, the clock.
_PER_CYCLE = {
  "TPU v2": 2**15,
  "TPU v3": 2**16,
  "TPU v4": 2**18,
  "TPU v5 lite": 2**17,
  "TPU v5": 2**18,
  "TPU v6 lite": 2**19,
  "TPU7x": 2**19,
}

# One link of a TPU, bytes a second in one direction, and how long an axis must
# be to be a ring. Of a chip with two devices half of a link is each one's.
_LINKS = {
  "TPU v2": (31e9, 16),
  "TPU v3": (41e9, 16),
  "TPU v4": (50e9, 4),
  "TPU v5 lite": (50e9, 16),
  "TPU v5": (100e9, 4),
  "TPU v6 lite": (100e9, 16),
  "TPU7x": (50e9, 4),
}

# NVLink within a machine, and one adapter of 400 Gbit/s for each GPU between
# machines; bytes a second in one direction.
_NVLINK, _NETWORK = 450e9, 50e9
_GPUS_OF_A_MACHINE = 8

# XLA takes this share of a GPU's memory, unless the environment says another.
_GPU_SHARE = ("XLA_PYTHON_CLIENT_MEM_FRACTION", 0.75)

_GPUS = ("h100",)
_CHOICES = (
  "a TPU with its topology, such as v5e:2x2, v6e:4x4 or v5p:2x2x1; h100:1, "
  "h100:8, ...; cpu or cpu:8"
)


@dataclasses.dataclass(frozen=True)
class Target:
  """Devices that a step is compiled for.

  Attributes:
    name: as it was asked for, e.g. 'v5e:2x2'.
    devices: compilers take them; they run nothing, unless they are CPUs.
    platform: 'tpu', 'gpu' or 'cpu'.
    kind: what JAX calls the device.
    peaks: its limits; None where they are not known.
    clock: cycles a second of a TPU; None: unknown.
    link: bytes a second from a device to others while all send; None: unknown.
    memory: bytes that a program may have; None: its compiler knows.
  """

  name: str
  devices: tuple[Any, ...]
  platform: str
  kind: str
  peaks: Peaks | None = None
  clock: float | None = None
  link: float | None = None
  memory: float | None = None


def find(name: str) -> Target:
  """The devices of a topology.

  Args:
    name: such as 'v5e:2x2' (chips along each axis), 'h100:8' or 'cpu'.

  Raises:
    ValueError: there is no such topology, or its compiler is not installed or
      in use.

  Source: clocks and links are of the Cloud TPU documentation ("System
  architecture" of each version: peak, bandwidth of the interconnect) and of
  NVIDIA's data sheet of the H100 SXM.
  """
  kind, _, shape = name.partition(":")
  if kind == "cpu":
    return _cpus(name, shape)
  if kind in _GPUS:
    return _gpus(name, kind, shape)
  return _tpus(name, kind, shape)


def _cpus(name: str, shape: str) -> Target:
  count = _count(name, shape or "1")
  if "host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
    with contextlib.suppress(RuntimeError):  # JAX has made them already
      jax.config.update("jax_num_cpu_devices", count)
  devices: list[Any] = jax.devices("cpu")
  if len(devices) < count:
    raise ValueError(
      f"--device={name}: JAX has {len(devices)} CPU devices and can't make "
      "more in this process; start another one."
    )
  pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
  kind = devices[0].device_kind
  memory = pages * size / count
  return Target(name, tuple(devices[:count]), "cpu", kind, memory=memory)


def _gpus(name: str, kind: str, shape: str) -> Target:
  count = _count(name, shape or "1")
  machines = max(1, count // _GPUS_OF_A_MACHINE)
  if count > _GPUS_OF_A_MACHINE and count % _GPUS_OF_A_MACHINE:
    raise ValueError(
      f"--device={name}: more than {_GPUS_OF_A_MACHINE} GPUs must be whole "
      f"machines of {_GPUS_OF_A_MACHINE}; choose a multiple."
    )
  if not _installed("jax_plugins", "jax_plugins.xla_cuda13"):
    raise ValueError(
      f"--device={name}: the compiler for NVIDIA GPUs is not installed; pip "
      f"install --no-deps jax-cuda13-pjrt=={jax.__version__} "
      f"jax-cuda13-plugin=={jax.__version__}, or install d2v_jax with the "
      "extra `plan-gpu`. No GPU and no driver are needed."
    )
  # Only a device that runs programs needs the libraries of CUDA.
  os.environ.setdefault("JAX_SKIP_CUDA_CONSTRAINTS_CHECK", "1")
  described = importlib.resources.files("d2v_jax.planning") / f"{kind}.txtpb"
  devices: list[Any] = topologies.get_topology_desc(
    platform="cuda",
    topology_name=kind,
    topology=f"1x{machines}x{count // machines}",
    target_config=described.read_text(),
  ).devices
  kind = devices[0].device_kind
  found = peaks(kind)
  variable, usual = _GPU_SHARE
  share = float(os.environ.get(variable, usual))
  return Target(
    name=name,
    devices=tuple(devices),
    platform="gpu",
    kind=kind,
    peaks=found,
    link=_NVLINK if machines == 1 else _NETWORK,
    memory=None if found is None else found.memory * share,
  )


def _tpus(name: str, kind: str, shape: str) -> Target:
  if not re.fullmatch(r"(v\d|tpu)[\w ]*", kind) or not shape:
    raise ValueError(f"--device={name}: unknown; choose one of: {_CHOICES}.")
  if not _installed("libtpu"):
    raise ValueError(
      f"--device={name}: the compiler for TPUs, libtpu, is not installed; pip "
      "install 'jax[tpu]', or install d2v_jax with the extra `plan-tpu`. No "
      "TPU is needed."
    )
  # A chip of v4 is one device to JAX, though it has two cores.
  options = {"chip_config_name": "megacore"} if kind == "v4" else {}
  _prepare_libtpu()
  try:
    devices: list[Any] = topologies.get_topology_desc(
      platform="tpu", topology_name=name, **options
    ).devices
  except jax.errors.JaxRuntimeError as e:
    raise ValueError(f"--device={name}: {_refusal(str(e))}") from e
  kind = devices[0].device_kind
  found, per_cycle = peaks(kind), _PER_CYCLE.get(kind)
  return Target(
    name=name,
    devices=tuple(devices),
    platform="tpu",
    kind=kind,
    peaks=found,
    clock=found.flops / per_cycle if found and per_cycle else None,
    link=_link(devices),
  )


def _installed(*modules: str) -> bool:
  """Whether a module is there, after the packages that it is in."""
  return all(importlib.util.find_spec(module) for module in modules)


def _prepare_libtpu() -> None:
  """Says to libtpu what it can't find out where there is no TPU."""
  # Else it asks a server of Google's cloud what machine this is, and waits.
  variables = {"TPU_SKIP_MDS_QUERY": "1", "TPU_WORKER_HOSTNAMES": "localhost"}
  # One process has a TPU. Where none is there, any number may compile.
  if not glob.glob("/dev/accel*") and not glob.glob("/dev/vfio/[0-9]*"):
    variables["ALLOW_MULTIPLE_LIBTPU_LOAD"] = "1"
    variables["TPU_ACCELERATOR_TYPE"] = "v5litepod-4"  # any; else it warns
  for variable, value in variables.items():
    os.environ.setdefault(variable, value)


def _refusal(message: str) -> str:
  """What libtpu says, with what to do."""
  if "lockfile" in message or "already in use" in message:
    return (
      "another process uses libtpu, which only one at a time may; wait for it "
      "(a training, or another d2v plan), or, when there is none, remove "
      "/tmp/libtpu_lockfile."
    )
  first = message.strip().splitlines()[0] if message.strip() else "unknown"
  return f"{first}. Choose {_CHOICES}."


def _link(devices: Sequence[Any]) -> float | None:
  """Bytes a second that a chip sends to its neighbours on all axes."""
  bandwidth, ring = _LINKS.get(devices[0].device_kind, (None, 0))
  if bandwidth is None:
    return None
  axes = zip(*(d.coords for d in devices), strict=True)
  sizes = [max(axis) + 1 for axis in axes]
  ways = sum(2 if size % ring == 0 else 1 for size in sizes if size > 1)
  return bandwidth * max(ways, 1)


def _count(name: str, text: str) -> int:
  if not text.isdecimal() or int(text) < 1:
    raise ValueError(
      f"--device={name}: how many must be a number of 1 or more, such as "
      f"{name.partition(':')[0]}:4."
    )
  return int(text)


def versions(platform: str) -> Mapping[str, str]:
  """Distribution -> version, of what compiles for a platform."""
  names = {"tpu": ["libtpu"], "gpu": ["jax-cuda13-pjrt"]}.get(platform, [])
  return {
    name: importlib.metadata.version(name) for name in ("jax", "jaxlib", *names)
  }
