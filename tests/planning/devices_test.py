"""Devices by name; those of TPUs and GPUs where their compilers are there."""

import importlib.util
import types

import pytest

from d2v_jax.planning import devices

NEEDS_LIBTPU = pytest.mark.skipif(
  not importlib.util.find_spec("libtpu"),
  reason="libtpu is not installed: pip install 'd2v_jax[plan-tpu]'",
)
NEEDS_CUDA = pytest.mark.skipif(
  not devices._installed("jax_plugins", "jax_plugins.xla_cuda13"),
  reason="the plugin is not installed: pip install 'd2v_jax[plan-gpu]'",
)


def test_cpus():
  target = devices.find("cpu:4")
  assert (target.name, target.platform) == ("cpu:4", "cpu")
  assert len(set(target.devices)) == 4
  assert target.peaks is target.clock is target.link is None
  assert target.memory == pytest.approx(devices.find("cpu").memory / 4)


@pytest.mark.parametrize(
  ("name", "message"),
  [
    ("a100:8", r"--device=a100:8: unknown; choose one of: a TPU with its topo"),
    ("v5e", "--device=v5e: unknown; choose one of"),
    (
      "cpu:x",
      "--device=cpu:x: how many must be a number of 1 or more, such as",
    ),
    ("h100:0", "such as h100:4"),
    ("h100:12", "more than 8 GPUs must be whole machines of 8; choose a multi"),
    ("cpu:9999", "JAX has 8 CPU devices and can't make more in this process"),
  ],
)
def test_names_that_are_none(name, message):
  with pytest.raises(ValueError, match=message):
    devices.find(name)


@pytest.mark.parametrize(
  ("name", "message"),
  [
    (
      "v5e:2x2",
      r"libtpu, is not installed; pip install 'jax\[tpu\]'.*plan-tpu",
    ),
    ("h100:1", "pip install --no-deps jax-cuda13-pjrt==.*`plan-gpu`. No GPU"),
  ],
)
def test_without_the_compilers(name, message, monkeypatch):
  monkeypatch.setattr(devices, "_installed", lambda *modules: False)
  with pytest.raises(ValueError, match=message):
    devices.find(name)


def test_the_lock_of_libtpu(monkeypatch):
  def locked(**kwargs):
    raise devices.jax.errors.JaxRuntimeError(
      "ABORTED: Internal error when accessing libtpu multi-process lockfile. "
      'Run "$ sudo rm /tmp/libtpu_lockfile".'
    )

  monkeypatch.setattr(devices, "_installed", lambda *modules: True)
  monkeypatch.setattr(devices, "_prepare_libtpu", lambda: None)
  monkeypatch.setattr(devices.topologies, "get_topology_desc", locked)
  with pytest.raises(ValueError, match="v5e:2x2: another process uses libtpu"):
    devices.find("v5e:2x2")


@pytest.mark.parametrize(
  ("kind", "sizes", "expected"),
  [
    ("TPU v5 lite", (2, 2, 1), 2 * 50e9),  # two axes, one way each
    ("TPU v5 lite", (1, 1, 1), 50e9),
    ("TPU v5 lite", (16, 16, 1), 4 * 50e9),  # rings go both ways
    ("TPU v5", (4, 4, 4), 6 * 100e9),
    ("TPU v5", (2, 2, 1), 2 * 100e9),
    ("TPU v99", (2, 2, 1), None),
  ],
)
def test_links(kind, sizes, expected):
  made = [
    types.SimpleNamespace(device_kind=kind, coords=[x, y, z])
    for x in range(sizes[0])
    for y in range(sizes[1])
    for z in range(sizes[2])
  ]
  assert devices._link(made) == expected


@NEEDS_LIBTPU
@pytest.mark.parametrize(
  ("name", "count", "clock"),
  [
    ("v2:2x2", 8, 0.70e9),
    ("v3:2x2", 8, 0.94e9),
    ("v4:2x2x1", 4, 1.05e9),
    ("v5e:4x4", 16, 1.50e9),
    ("v5p:2x2x1", 4, 1.75e9),
    ("v6e:2x2", 4, 1.75e9),
    ("tpu7x:2x2x1", 8, 2.20e9),
  ],
)
def test_tpus(name, count, clock):
  target = devices.find(name)
  assert (len(target.devices), target.platform) == (count, "tpu")
  assert target.peaks is not None
  assert target.clock == pytest.approx(clock, rel=0.01)


@NEEDS_LIBTPU
@pytest.mark.parametrize("name", ["v9:2x2", "v5e:3x3x3", "v5e:x"])
def test_topologies_that_libtpu_does_not_know(name):
  with pytest.raises(
    ValueError, match=rf"^--device={name}: .*Choose a TPU wit"
  ):
    devices.find(name)


@NEEDS_CUDA
def test_gpus(monkeypatch):
  monkeypatch.delenv("XLA_PYTHON_CLIENT_MEM_FRACTION", raising=False)
  one, many = devices.find("h100:8"), devices.find("h100:16")
  assert (len(one.devices), len(many.devices)) == (8, 16)
  assert one.kind == "NVIDIA H100 80GB HBM3"
  assert one.memory == 0.75 * 80 * 2**30
  assert one.link > many.link  # a network between machines
  monkeypatch.setenv("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.9")
  assert devices.find("h100:1").memory == 0.9 * 80 * 2**30


def test_versions():
  assert devices.versions("cpu").keys() == {"jax", "jaxlib"}
